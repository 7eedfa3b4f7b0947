// sallyport keys: what signs tokens. Private halves never leave the database.
import { type Command, Option } from 'commander'
import { type RotationResult, rotateSigningKeys } from '#src/keys/key-rotation.ts'
import { listSigningKeys } from '#src/keys/signing-key-list.ts'
import { type SigningAlgorithm, signingAlgorithms } from '#src/keys/signing-keys.ts'
import type { CliDeps } from './deps.ts'
import { cliChange } from './input.ts'
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

  keys
    .command('rotate')
    .description('the announced key signs from now on; the one before stays published until nothing valid names it')
    .addOption(new Option('--alg <algorithm>', 'this algorithm alone').choices(signingAlgorithms))
    .option(
      '--unannounced',
      'also to a key that was announced within the hour: verifiers refuse what it signs until they read the keys again',
      false,
    )
    .action(async ({ alg, unannounced }: { alg?: SigningAlgorithm; unannounced: boolean }) => {
      const result = await rotateSigningKeys(await deps.openDatabase(), deps.secretKeys(), {
        afterSeconds: 0,
        unannounced,
        change: cliChange(deps),
        ...(alg && { algorithms: [alg] }),
      })
      if (result.rotated.length === 0) deps.fail(whyNot(result))
      const rows = result.rotated.map((rotation) => [rotation.alg, rotation.current, rotation.retired, rotation.next])
      deps.out(result, table(['algorithm', 'signs', 'retired', 'announced'], rows, ''))
    })
}

function whyNot({ early }: RotationResult): string {
  const [first] = early
  return first
    ? `The next ${first.alg} key was announced a moment ago and may sign from ${first.from.toISOString()} on; --unannounced does not wait.`
    : 'There is no key to rotate; the first start makes them.'
}
