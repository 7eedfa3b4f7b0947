// sallyport keys: what signs tokens, and the keys of SECRET_KEY that everything else is sealed under. None of them is ever shown.
import { type Command, Option } from 'commander'
import { type RotationResult, retireSigningKey, rotateSigningKeys } from '#src/keys/key-rotation.ts'
import { countSealed, discardUnreadable, droppableFrom, moveToNewestKey, readSealing } from '#src/keys/seal-rotation.ts'
import { type SigningAlgorithm, signingAlgorithms } from '#src/keys/signer.ts'
import { listSigningKeys } from '#src/keys/signing-keys.ts'
import type { CliDeps } from './deps.ts'
import { cliChange } from './input.ts'
import { table } from './table.ts'

export function register(program: Command, deps: CliDeps): void {
  const keys = program.command('keys').description('signing keys')

  keys
    .command('list')
    .description('every signing key')
    .action(async () => {
      const records = await listSigningKeys(await deps.openDatabase())
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

  keys
    .command('retire')
    .description('of a key that signs: the announced one takes its place; of one that is announced: it never signs')
    .argument('<key>', 'its kid')
    .option('--unannounced', 'as for rotate', false)
    .action(async (kid: string, { unannounced }: { unannounced: boolean }) => {
      const [database, secretKeys] = [await deps.openDatabase(), deps.secretKeys()]
      const done = await retireSigningKey(database, secretKeys, { kid, unannounced, change: cliChange(deps) })
      const what = done.withdrawn ? `Withdrew ${kid}, which was announced` : `Retired ${kid}; ${done.current} signs now`
      deps.out(done, `${what}. ${done.next} is announced.`)
    })

  registerSecret(keys, deps)
}

function registerSecret(keys: Command, deps: CliDeps): void {
  const secret = keys.command('secret').description('SECRET_KEY: what is sealed under which of its keys')

  secret
    .command('status')
    .description('how many rows each key seals, and whether the old ones may go')
    .action(async () => {
      const [database, secretKeys] = [await deps.openDatabase(), deps.secretKeys()]
      const counts = await countSealed(database, secretKeys)
      const { fingerprints } = secretKeys
      const pending = counts.reduce(
        (sum, { underKey: [, ...older] }) => older.reduce((all, rows) => all + rows, sum),
        0,
      )
      const unreadable = counts.reduce((sum, count) => sum + count.unreadable, 0)
      const from =
        pending > 0 || fingerprints.length === 1
          ? undefined
          : droppableFrom(await readSealing(database), secretKeys, (await deps.configInForce()).sessionTtlSeconds)
      const heads = [
        'sealed',
        ...fingerprints.map((name, at) => `${at === 0 ? 'newest' : 'older'} ${name}`),
        'none of them',
      ]
      const rows = counts.map(({ what, underKey, unreadable }) => [what, ...underKey.map(String), String(unreadable)])
      deps.out(
        { keys: fingerprints, counts, pending, unreadable, droppableFrom: from ?? null },
        [table(heads, rows, ''), '', verdict({ pending, from, keys: fingerprints.length, now: deps.now() })].join('\n'),
      )
    })

  secret
    .command('reseal')
    .description(
      'seals under the newest key whatever an older one seals; the server does it by itself, this does it now',
    )
    .action(async () => {
      const done = await moveToNewestKey(await deps.openDatabase(), deps.secretKeys(), {
        change: cliChange(deps),
        onBatch: deps.progress('rows left'),
      })
      deps.out(done, `Sealed ${done.moved} rows anew; ${done.pending} are left.`)
    })

  secret
    .command('discard')
    .description(
      'for a key that is lost for good: deletes what no key of SECRET_KEY opens; without --yes it only tells',
    )
    .option('--yes', 'delete', false)
    .action(async ({ yes }: { yes: boolean }) => {
      const [database, secretKeys] = [await deps.openDatabase(), deps.secretKeys()]
      const lost = yes
        ? await discardUnreadable(database, secretKeys, cliChange(deps))
        : (await countSealed(database, secretKeys)).filter(({ unreadable }) => unreadable > 0)
      const rows = lost.map(({ what, unreadable }) => [what, String(unreadable)])
      const shown = table(['sealed', yes ? 'deleted' : 'would be deleted'], rows, 'Every row opens with SECRET_KEY.')
      deps.out({ discarded: yes, rows: Object.fromEntries(lost.map((one) => [one.what, one.unreadable])) }, shown)
    })
}

function verdict({ pending, from, keys, now }: { pending: number; from: Date | undefined; keys: number; now: Date }) {
  if (keys === 1) return 'SECRET_KEY holds one key.'
  if (pending > 0)
    return `${pending} rows need an older key: it must stay in SECRET_KEY. The server moves them; \`reseal\` does it now.`
  if (!from)
    return 'No row needs an older key, but no server has said yet that it seals with the newest: start them with it in front.'
  return from > now
    ? `No row needs an older key. It may leave SECRET_KEY from ${from.toISOString()} on: until then cookies may be about that it signed.`
    : 'No row needs an older key: it may leave SECRET_KEY.'
}

function whyNot({ early }: RotationResult): string {
  const [first] = early
  return first
    ? `The next ${first.alg} key was announced a moment ago and may sign from ${first.from.toISOString()} on; --unannounced does not wait.`
    : 'There is no key to rotate; the first start makes them.'
}
