// What storage costs as it grows: `node bench/growth.ts [--sizes=10000,1000000,5000000] [--url=DATABASE]`. Runs on a PostgreSQL of its
// own (or an empty database of yours), takes about a quarter of an hour for five million tokens, and writes bench/results/growth.json.
//
// Shown are: bytes of a row with its indexes, by kind; how every hot statement finds its rows; reads and rotations at each size; that
// the tables stay as large as what lives while rows come and go; a sweep of a million rows under readers. `--storage="fillfactor=90"`
// tries storage parameters of the token table, `--parts=steady` runs a part, printing only.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { closeDatabase, type Database, openDatabase } from '#src/db/database.ts'
import { startEmbeddedPostgres } from '#src/db/embedded-postgres.ts'
import { migrate } from '#src/db/migrate.ts'
import { createLog } from '#src/log.ts'
import type { ConsumeWrite, TokenWrite } from '#src/tokens/statements.ts'
import { commit, readToken } from '#src/tokens/statements.ts'
import { type Batch, sweep } from '#src/tokens/sweep.ts'
import {
  fillLedger,
  fillNeighbours,
  furnishLedger,
  grantIdOf,
  opaqueId,
  rowKinds,
  sessionUidOf,
  userIdOf,
} from '#test/support/ledger-rows.ts'
import { explain, hotStatements, indexesOf, nodesOf, type PlanNode, wholeTables } from '#test/support/plans.ts'

const { values: options } = parseArgs({
  options: {
    sizes: { type: 'string', default: '10000,1000000,5000000' },
    rounds: { type: 'string', default: '120' },
    perRound: { type: 'string', default: '5000' },
    url: { type: 'string' },
    storage: { type: 'string' },
    parts: { type: 'string', default: 'rows,sizes,sweep,steady' },
  },
})
const sizes = options.sizes.split(',').map(Number)
const parts = options.parts.split(',')
const all = parts.length === 4
const log = createLog({ logLevel: 'silent' })

/** Filling takes longer than our pool lets a statement run. */
type Ground = { database: Database; unlimited: pg.Pool }

async function startServer() {
  const dataDir = mkdtempSync(join(tmpdir(), 'sallyport-growth-'))
  await chmod(dataDir, 0o711) // as root, the server's account must pass through
  // Time runs sixty times faster here than in life, so cleaning looks in every second in place of every minute.
  const running = await startEmbeddedPostgres({
    dataDir,
    log,
    settings: { autovacuum_naptime: '1s', max_wal_size: '4GB' },
  })
  return {
    url: running.url,
    async stop() {
      await running.stop()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

async function measureRows({ unlimited }: Ground) {
  title('bytes of a token row with its indexes', ['kind', 'row', 'indexes', 'together'])
  const count = 100_000
  const kinds = []
  for (const kind of rowKinds) {
    await unlimited.query('CREATE TABLE one_kind (LIKE token INCLUDING ALL)')
    // In pieces, so that ids reach the index in the order of life: at random where they are hashes.
    for (let first = 0; first < count; first += 10_000)
      await fillLedger(unlimited, { first, count: 10_000, until: new Date(), seconds: 600, table: 'one_kind', kind })
    await unlimited.query('VACUUM ANALYZE one_kind')
    const { heap, indexes } = await bytesOf(unlimited, 'one_kind')
    const bytes = { kind: kind.name, row: heap / count, indexes: indexes / count, together: (heap + indexes) / count }
    kinds.push(bytes)
    line([bytes.kind, whole(bytes.row), whole(bytes.indexes), whole(bytes.together)])
    await unlimited.query('DROP TABLE one_kind')
  }
  const together = kinds.reduce((sum, kind, i) => {
    const { from, to } = rowKinds[i] ?? { from: 0, to: 0 }
    return sum + (kind.together * (to - from + 1)) / 20
  }, 0)
  line(['as they are mixed', '', '', whole(together)])
  return { kinds, mixed: together }
}

async function bytesOf(pool: pg.Pool, table: string) {
  const { rows } = await pool.query<{ heap: string; indexes: string }>(
    'SELECT pg_table_size($1::regclass) AS heap, pg_indexes_size($1::regclass) AS indexes',
    [table],
  )
  return { heap: Number(rows[0]?.heap), indexes: Number(rows[0]?.indexes) }
}

async function measureSizes(ground: Ground) {
  const { database, unlimited } = ground
  const measured = []
  let filled = 0
  for (const size of sizes) {
    const begun = performance.now()
    for (; filled < size; filled += Math.min(100_000, size - filled))
      await fillLedger(unlimited, {
        first: filled,
        count: Math.min(100_000, size - filled),
        until: new Date(),
        seconds: 600,
      })
    const fillSeconds = (performance.now() - begun) / 1000
    if (size === sizes[0]) await fillNeighbours(unlimited)
    await unlimited.query('VACUUM ANALYZE')
    const { heap, indexes } = await bytesOf(unlimited, 'token')
    const plans = await examinePlans(unlimited)
    const read = await time(5_000, (i) => readOne(database.pool, spread(i, size)))
    const rotation = await time(400, (i) => rotate(database.pool, size - 20 * (i + 1))) // each family once
    const point = {
      tokens: size,
      fillSeconds,
      bytesPerToken: (heap + indexes) / size,
      megabytes: (heap + indexes) / 1e6,
      read,
      rotation,
      plans,
    }
    measured.push(point)
    title(`${size.toLocaleString('en')} tokens`, ['', 'median ms', 'p99 ms'])
    line(['read', read.median.toFixed(3), read.p99.toFixed(3)])
    line(['rotation', rotation.median.toFixed(3), rotation.p99.toFixed(3)])
    line(['bytes a token', whole(point.bytesPerToken), ''])
    title('how each statement finds its rows', ['statement', 'ms', 'pages', 'indexes'])
    for (const plan of plans)
      line([
        plan.statement,
        plan.milliseconds.toFixed(2),
        String(plan.pages),
        [...plan.indexes, ...plan.wholeTables.map((table) => `ALL OF ${table}`)].join(' '),
      ])
  }
  return measured
}

/** The twenty of a person somewhere among `size`, far from the one before. */
const spread = (i: number, size: number) => ((i * 7919) % Math.floor(size / 20)) * 20

async function examinePlans(pool: pg.Pool) {
  const plans = []
  for (const statement of await hotStatements(2_000)) {
    const explained = await explain(pool, statement, { generic: true, analyze: true })
    plans.push({
      statement: statement.name,
      milliseconds: explained['Execution Time'] ?? 0,
      pages: Math.max(
        ...nodesOf(explained.Plan).map(
          (node) => Number(node['Shared Hit Blocks']) + Number(node['Shared Read Blocks']),
        ),
      ),
      indexes: indexesOf(explained),
      wholeTables: wholeTables(explained),
      plan: outline(explained.Plan),
    })
  }
  return plans
}

/** A plan with what was found and what it cost, a line for each step. */
function outline(node: PlanNode, depth = 0): string[] {
  const name = node['Subplan Name'] ? `${node['Subplan Name']}: ` : ''
  const where = [node['Relation Name'], node['Index Name']].filter(Boolean).join(' by ')
  const pages = `${node['Shared Hit Blocks']}+${node['Shared Read Blocks']} pages`
  const told = `${node['Actual Rows']} rows, ${node['Actual Total Time']} ms, ${pages}`
  return [
    `${'  '.repeat(depth)}${name}${node['Node Type']}${where && ` ${where}`} (${told})`,
    ...(node.Plans ?? []).flatMap((below) => outline(below, depth + 1)),
  ]
}

async function readOne(pool: pg.Pool, number: number): Promise<void> {
  const row = await readToken(pool, opaqueId(number + 12))
  if (!row?.live) throw new Error(`token ${number + 12} is not there, or not live`)
}

let rotations = 0
/** What a refresh commits: the token it presents, its predecessor, the successor, an access token, a record. */
async function rotate(pool: pg.Pool, number: number): Promise<void> {
  const hex = (bytes: Buffer) => `\\x${bytes.toString('hex')}`
  const made = 2e9 + 10 * ++rotations
  const parents = {
    clientId: 'client-1',
    userId: userIdOf(number),
    grantId: grantIdOf(number),
    sessionUid: sessionUidOf(number),
  }
  const now = Date.now() / 1000
  const token = (kind: number, n: number): TokenWrite => ({
    ...parents,
    id: hex(opaqueId(n)),
    kind,
    resource: 'https://api.example.com/orders-1',
    scope: 'orders:read orders:write',
    userCodeHash: null,
    issuedAt: now,
    expiresAt: now + 900,
    salt: kind === 2 ? hex(opaqueId(n + 1)) : null,
    predecessorId: hex(opaqueId(number + 15)),
    grantGeneration: 0,
    sessionGeneration: 0,
    userGeneration: 0,
    clientGeneration: 0,
    apiGeneration: 0,
    payload: { expiresWithSession: true },
  })
  const consume = {
    id: hex(opaqueId(number + 15)),
    predecessorId: hex(opaqueId(number + 16)),
    successorId: hex(opaqueId(made)),
    leeway: 30,
    address: '198.51.100.24',
    userAgent: null,
    requestId: null,
  } as ConsumeWrite
  const audit = [{ event: 'token.issued', outcome: 'success', detail: {} }]
  const [verdict] = await commit(pool, [{ consume: [consume], token: [token(2, made), token(1, made + 1)], audit }])
  if (verdict) throw new Error(`a rotation was refused: ${verdict}`)
}

async function time(count: number, work: (i: number) => Promise<unknown>) {
  for (let i = 0; i < 50; i++) await work(count + i)
  const taken: number[] = []
  for (let i = 0; i < count; i++) {
    const begun = performance.now()
    await work(i)
    taken.push(performance.now() - begun)
  }
  return quantiles(taken)
}

function quantiles(taken: number[]) {
  const sorted = taken.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
  return { median: at(0.5), p99: at(0.99) }
}

/** A million rows that were over for an hour, all at once, while tokens are read. */
async function measureSweep({ database, unlimited }: Ground) {
  const hourAgo = new Date(Date.now() - 3_600_000)
  await fillLedger(unlimited, {
    first: 100_000_000,
    count: 1_000_000,
    until: hourAgo,
    seconds: 600,
    refreshSeconds: 900,
  })
  await unlimited.query('ANALYZE token')
  const largest = Math.max(...sizes)
  const read = (i: number) => readOne(database.pool, spread(i, largest))
  const calm = await time(5_000, read)
  const batches: Batch[] = []
  const sweeping = { is: true }
  const begun = performance.now()
  const swept = sweep(database, { now: new Date(), onBatch: (batch) => batches.push(batch) }).finally(() => {
    sweeping.is = false
  })
  const taken: number[] = []
  for (let i = 0; sweeping.is; i++) {
    const before = performance.now()
    await read(i)
    taken.push(performance.now() - before)
  }
  const { rows } = await swept
  const seconds = (performance.now() - begun) / 1000
  const ofTokens = batches.filter(({ table }) => table === 'token').map((batch) => batch.seconds * 1000)
  const result = {
    tokens: rows.token,
    seconds,
    batchMilliseconds: { ...quantiles(ofTokens), longest: Math.max(...ofTokens) },
    readsCalm: calm,
    readsMeanwhile: quantiles(taken),
  }
  title(`sweeping ${rows.token.toLocaleString('en')} tokens in ${seconds.toFixed(1)} s`, [
    'ms',
    'median',
    'p99',
    'longest',
  ])
  line([
    'batch',
    result.batchMilliseconds.median.toFixed(1),
    result.batchMilliseconds.p99.toFixed(1),
    result.batchMilliseconds.longest.toFixed(1),
  ])
  line(['read, calm', calm.median.toFixed(3), calm.p99.toFixed(3), ''])
  line(['read, meanwhile', result.readsMeanwhile.median.toFixed(3), result.readsMeanwhile.p99.toFixed(3), ''])
  return result
}

/** As many rows leave as come: each round is a minute of a time long past, so that rows expire when it says. Refresh tokens live for
 *  70 minutes; each is used a round after it was issued, and forgotten a round later. */
async function measureSteadyState({ database, unlimited }: Ground) {
  await unlimited.query('TRUNCATE token, oauth_grant, session')
  const rounds = Number(options.rounds)
  const perRound = Number(options.perRound)
  const begin = Date.now() - 30 * 86_400_000
  const samples = []
  title('rows come and go', ['round', 'live', 'MB', 'bytes a row', 'index MB', 'dead', 'HOT %', 'longest batch ms'])
  for (let round = 0; round < rounds; round++) {
    const now = new Date(begin + round * 60_000)
    await fillLedger(unlimited, {
      first: 200_000_000 + round * perRound,
      count: perRound,
      until: now,
      seconds: 60,
      refreshSeconds: 4_200,
      heads: true,
    })
    if (round >= 1) await useRefreshTokens(unlimited, 200_000_000 + (round - 1) * perRound, perRound)
    if (round >= 2) await forgetRefreshTokens(unlimited, 200_000_000 + (round - 2) * perRound, perRound)
    const { longestBatchSeconds } = await sweep(database, { now })
    await delay(1_000) // cleaning has its turn, as it has each minute in life
    if ((round + 1) % 10 > 0) continue
    const { heap, indexes } = await bytesOf(unlimited, 'token')
    const { rows } = await unlimited.query<{ live: string; dead: string; updates: string; hot: string }>(
      `SELECT (SELECT count(*) FROM token) AS live, n_dead_tup AS dead, n_tup_upd AS updates, n_tup_hot_upd AS hot FROM pg_stat_user_tables WHERE relname = 'token'`,
    )
    const live = Number(rows[0]?.live)
    const sample = {
      round: round + 1,
      live,
      megabytes: (heap + indexes) / 1e6,
      indexMegabytes: indexes / 1e6,
      bytesPerRow: (heap + indexes) / live,
      dead: Number(rows[0]?.dead),
      hotShare: Number(rows[0]?.hot) / Number(rows[0]?.updates),
      longestBatchMilliseconds: longestBatchSeconds * 1000,
    }
    samples.push(sample)
    line([
      String(sample.round),
      live.toLocaleString('en'),
      sample.megabytes.toFixed(0),
      whole(sample.bytesPerRow),
      sample.indexMegabytes.toFixed(0),
      String(sample.dead),
      whole(sample.hotShare * 100),
      whole(sample.longestBatchMilliseconds),
    ])
  }
  return samples
}

/** By their ids, as commits do. */
const refreshIds = `(SELECT sha256(('t' || i)::bytea) FROM generate_series($1::bigint, $1::bigint + $2 - 1) i WHERE i % 20 >= 15)`

async function useRefreshTokens(pool: pg.Pool, first: number, count: number) {
  await pool.query(
    `UPDATE token SET consumed_at = issued_at + interval '1 minute', consumed_address = '198.51.100.24', successor_id = sha256(id) WHERE id = ANY (ARRAY${refreshIds})`,
    [first, count],
  )
}

async function forgetRefreshTokens(pool: pg.Pool, first: number, count: number) {
  await pool.query(
    `UPDATE token SET salt = NULL, successor_id = NULL, payload = json_build_object('expiresWithSession', true) WHERE id = ANY (ARRAY${refreshIds})`,
    [first, count],
  )
}

function title(text: string, columns: string[]) {
  console.log(`\n${text}`)
  line(columns)
}

function line(cells: string[]) {
  console.log(cells.map((cell, i) => (i === 0 ? cell.padEnd(26) : cell.padStart(12))).join(' '))
}

function whole(value: number): string {
  return String(Math.round(value))
}

const server = options.url ? undefined : await startServer()
const database = openDatabase(options.url ?? server?.url ?? '', { poolSize: 10, onError: () => undefined })
const unlimited = new pg.Pool({ connectionString: options.url ?? server?.url ?? '', max: 2 })
try {
  await migrate(database, { log })
  const ground = { database, unlimited }
  await furnishLedger(unlimited)
  if (options.storage) await unlimited.query(`ALTER TABLE token SET (${options.storage})`)
  const { rows } = await unlimited.query<{ version: string }>('SELECT version()')
  const result = {
    at: new Date().toISOString(),
    postgres: rows[0]?.version.split(' ').slice(0, 2).join(' '),
    ...(parts.includes('rows') && { bytesPerRow: await measureRows(ground) }),
    ...(parts.includes('sizes') && { sizes: await measureSizes(ground) }),
    ...(parts.includes('sweep') && { sweepUnderReaders: await measureSweep(ground) }),
    ...(parts.includes('steady') && { steady: await measureSteadyState(ground) }),
  }
  if (all) {
    const directory = join(import.meta.dirname, 'results')
    mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, 'growth.json'), `${JSON.stringify(result, null, 2)}\n`)
  }
} finally {
  await closeDatabase(database)
  await unlimited.end()
  await server?.stop()
}
