// sallyport apply: make the configuration what a file says. One transaction: everything or nothing.
import { readFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import { applyDeclaration } from '#src/declaration/apply.ts'
import { expandBranding, noteOverridden } from '#src/declaration/kinds/settings.ts'
import { readLogos } from '#src/declaration/logos.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import { readPolicyTexts } from '#src/declaration/policy-texts.ts'
import { expandRoutes } from '#src/declaration/routes.ts'
import { resolveSecrets } from '#src/declaration/secrets.ts'
import type { PlannedChange } from '#src/declaration/steps.ts'
import { settlePasswords } from '#src/factors/password-settings.ts'
import type { CliDeps } from './deps.ts'
import { cliChange } from './input.ts'
import { lineDiff } from './line-diff.ts'

export function register(program: Command, deps: CliDeps): void {
  program
    .command('apply')
    .description('make the configuration what a declarative file says')
    .requiredOption('--file <file>', 'the file, YAML; - for standard input')
    .option('--dry-run', 'show what would change, and change nothing', false)
    .option('--prune', 'also remove what the sections of the file do not list', false)
    .action(async ({ file, dryRun, prune }: { file: string; dryRun: boolean; prune: boolean }) => {
      settlePasswords(deps.config())
      const folder = dirname(file) // of standard input the current one
      const written = parseDeclaration(file === '-' ? await text(process.stdin) : readText(deps, file))
      const resolved = resolveSecrets(written, folder, deps.config().namedSecrets)
      const declaration = expandRoutes(expandBranding(resolved, folder), folder)
      const logos = readLogos(declaration, folder)
      const policyTexts = readPolicyTexts(declaration, folder)
      const database = await deps.openDatabase()
      const webhookDeps = { secretKeys: deps.secretKeys(), networks: deps.config().webhookNetworks }
      const progress = deps.progress(dryRun ? 'steps tried' : 'steps done')
      const named = {
        logos,
        policyTexts,
        webhookDeps,
        file: file === '-' ? 'standard input' : basename(file),
        progress,
      }
      const done = await applyDeclaration(database, declaration, { ...cliChange(deps), dryRun, prune, ...named })
      const changes = noteOverridden(done, deps.config())
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
  const width = Math.max(6, ...changes.map(({ kind }) => kind.length))
  const indent = ' '.repeat(width + 5)
  const lines = changes.flatMap(({ action, kind, id, fields = {}, note }) => [
    `${signs[action]} ${kind.padEnd(width)} ${id}`,
    ...Object.entries(fields).flatMap(([name, { from, to }]) => describeField(indent, name, from, to)),
    ...(note === undefined ? [] : [`${indent}note: ${note}.`]),
  ])
  const count = (action: PlannedChange['action']) => changes.filter((change) => change.action === action).length
  const numbers = `${count('create')} created, ${count('update')} updated, ${count('delete')} deleted`
  return [...lines, '', dryRun ? `Dry run, nothing was changed. Would be: ${numbers}.` : `Applied: ${numbers}.`].join(
    '\n',
  )
}

function describeField(indent: string, name: string, from: unknown, to: unknown): string[] {
  if (typeof from === 'string' && typeof to === 'string' && `${from}${to}`.includes('\n'))
    return [`${indent}${name}:`, ...lineDiff(from, to).map((line) => `${indent}  ${line}`)]
  return [`${indent}${name}: ${JSON.stringify(from)} -> ${JSON.stringify(to)}`]
}
