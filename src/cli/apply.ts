// sallyport apply: make the configuration what a file says. One transaction: everything or nothing.
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { applyDeclaration } from '#src/declaration/apply.ts'
import type { PlannedChange } from '#src/declaration/compare.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import { settlePasswords } from '#src/factors/password-settings.ts'
import type { CliDeps } from './deps.ts'
import { cliChange } from './input.ts'

export function register(program: Command, deps: CliDeps): void {
  program
    .command('apply')
    .description('make the configuration what a declarative file says')
    .requiredOption('--file <file>', 'the file, YAML')
    .option('--dry-run', 'show what would change, and change nothing', false)
    .option('--prune', 'also remove what the sections of the file do not list', false)
    .action(async ({ file, dryRun, prune }: { file: string; dryRun: boolean; prune: boolean }) => {
      settlePasswords(deps.config())
      const declaration = parseDeclaration(readText(deps, file))
      const database = await deps.openDatabase()
      const changes = await applyDeclaration(database, declaration, { ...cliChange(deps), dryRun, prune })
      deps.out({ changes }, describe(changes, dryRun))
    })
}

function readText(deps: CliDeps, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    return deps.fail(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}).`)
  }
}

const signs = { create: '+', update: '~', delete: '-' } as const

function describe(changes: readonly PlannedChange[], dryRun: boolean): string {
  if (changes.length === 0) return 'Nothing to change.'
  const lines = changes.flatMap(({ action, kind, id, fields = {} }) => [
    `${signs[action]} ${kind.padEnd(6)} ${id}`,
    ...Object.entries(fields).map(
      ([name, { from, to }]) => `           ${name}: ${JSON.stringify(from)} -> ${JSON.stringify(to)}`,
    ),
  ])
  const count = (action: PlannedChange['action']) => changes.filter((change) => change.action === action).length
  const numbers = `${count('create')} created, ${count('update')} updated, ${count('delete')} deleted`
  return [...lines, '', dryRun ? `Dry run, nothing was changed. Would be: ${numbers}.` : `Applied: ${numbers}.`].join(
    '\n',
  )
}
