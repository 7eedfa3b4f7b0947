// sallyport keys: what signs tokens. Private halves never leave the database.
import type { Command } from 'commander'
import { listSigningKeys } from '#src/keys/signing-key-list.ts'
import type { CliDeps } from './deps.ts'
import { table } from './table.ts'

export function register(program: Command, deps: CliDeps): void {
  const keys = program.command('keys').description('signing keys')

  keys
    .command('list')
    .description('every signing key')
    .action(async () => {
      const { prisma } = await deps.openDatabase()
      const records = await listSigningKeys(prisma)
      const rows = records.map(({ kid, alg, state, createdAt }) => [kid, alg, state, createdAt.toISOString()])
      deps.out(
        records,
        table(['key', 'algorithm', 'state', 'made'], rows, 'There is no signing key; the first start makes them.'),
      )
    })
}
