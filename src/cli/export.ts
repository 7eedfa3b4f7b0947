// sallyport export: the configuration as a declarative file, with hashes in place of secrets.
import type { Command } from 'commander'
import { exportDeclaration } from '#src/declaration/export.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import type { CliDeps } from './deps.ts'

export function register(program: Command, deps: CliDeps): void {
  program
    .command('export')
    .description('print the configuration as a declarative file')
    .action(async () => {
      const { prisma } = await deps.openDatabase()
      const text = await exportDeclaration(prisma)
      deps.out(parseDeclaration(text), text.trimEnd())
    })
}
