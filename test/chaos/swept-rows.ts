// R12: a great many rows that are over leave while the servers serve. What lives stays, every answer is right, and the clients hardly notice:
// windows with and without sweeping alternate, so that whatever else slows the machine down slows both.
import { setTimeout as delay } from 'node:timers/promises'
import { closeDatabase, type Database, openDatabase } from '#src/db/database.ts'
import { createSchedule } from '#src/jobs/schedule.ts'
import { createLog } from '#src/log.ts'
import { type Batch, sweep } from '#src/tokens/sweep.ts'
import { advanced, asking, beginFamily, openSeats } from './families.ts'
import type { Installation } from './installation.ts'
import { createFindings, quantile, type Report, times } from './report.ts'

export type SweptRowsSize = { over: number; alive: number; families: number; windowMs: number }

const quiet = createLog({ logLevel: 'silent' })

/** Marks of the rows that are made here; no client has such a name. */
const over = 'chaos-over'
const alive = 'chaos-alive'

export async function sweptRows(installation: Installation, size: SweptRowsSize): Promise<Report> {
  const { database, postgres } = installation
  const servers = await Promise.all([installation.start(0), installation.start(1)])
  const findings = createFindings()
  const ask = asking(installation)
  const seats = await openSeats(installation, size.families)
  const latencies: Record<'calm' | 'sweeping', number[]> = { calm: [], sweeping: [] }
  const swept = { rows: 0, batches: [] as number[] }
  let phase: keyof typeof latencies | undefined
  let loading = true
  await asTheRunner(async (runner) => {
    await fill()
    installation.traffic.tally()
    const load = times(size.families, serve)
    await delay(size.windowMs / 2) // prepared statements, caches
    for (let finished = false; !finished; ) {
      phase = 'calm'
      await delay(size.windowMs)
      phase = 'sweeping'
      const onBatch = ({ rows, seconds }: Batch) => {
        if (rows > 0) swept.batches.push(seconds * 1000)
      }
      const done = await sweep(runner, { now: new Date(), maxSeconds: size.windowMs / 1000, onBatch })
      finished = done.finished
      swept.rows += done.rows.token
    }
    phase = undefined
    loading = false
    await Promise.all(load)
  })

  findings.expect(
    swept.rows === size.over,
    `${size.over - swept.rows} rows were swept by somebody else: no window was calm`,
  )
  findings.expect((await countOf(over)) === 0, `${await countOf(over)} rows that are over are still there`)
  findings.expect(
    (await countOf(alive)) === size.alive,
    `${size.alive - (await countOf(alive))} live rows were deleted`,
  )
  const tally = installation.traffic.tally()
  for (const server of servers) await server.kill()
  const [calm, sweeping] = [latencies.calm, latencies.sweeping].map((values) => quantile(values, 0.99))
  return findings.report({
    'rows over / alive': `${size.over} / ${size.alive}`,
    'swept here, in batches': `${swept.rows}, ${swept.batches.length}`,
    'batch ms, median / p99 / longest': [0.5, 0.99, 1].map((part) => quantile(swept.batches, part)).join(' / '),
    'batches of 50 ms and more': `${swept.batches.filter((ms) => ms >= 50).length}`,
    'p99 ms, calm / sweeping': `${calm} / ${sweeping}`,
    'p99 change': `${Math.round(((sweeping ?? 0) / (calm || 1) - 1) * 100)} %`,
    'requests measured, calm / sweeping': `${latencies.calm.length} / ${latencies.sweeping.length}`,
    answers: JSON.stringify(tally),
  })

  /** Sweeping is a job that one process at a time does: while this is the one, the servers do not sweep. */
  async function asTheRunner(work: (runner: Database) => Promise<void>): Promise<void> {
    const runner = openDatabase(postgres.url, { poolSize: 1, onError: () => undefined })
    const worked = Promise.withResolvers<void>()
    const once = { name: 'sweep', everySeconds: 0.2, run: () => work(runner).then(worked.resolve, worked.reject) }
    const schedule = createSchedule({ database: runner, log: quiet, now: () => new Date(), jobs: [once] })
    schedule.start()
    try {
      await worked.promise
    } finally {
      await schedule.stop()
      await closeDatabase(runner)
    }
  }

  async function fill(): Promise<void> {
    // At once they would take longer than a statement may.
    for (let from = 0; from < size.over; from += 50_000)
      await insert(over, from, Math.min(from + 50_000, size.over), 'now() - make_interval(secs => 660 + n % 86400)')
    // Some are valid, some never end, and some have expired but not long ago: those are still told from unknown ones.
    await insert(
      alive,
      0,
      size.alive,
      "CASE n % 3 WHEN 0 THEN now() + interval '1 hour' WHEN 1 THEN now() - interval '1 minute' END",
    )
  }

  async function insert(name: string, from: number, to: number, expiry: string): Promise<void> {
    await database.pool.query({
      text: `INSERT INTO token (id, kind, client_id, issued_at, expires_at, payload)
        SELECT sha256(convert_to($1 || n, 'UTF8')), 1, $1, now() - interval '2 days', ${expiry}, '{}'
        FROM generate_series($2::int, $3::int) n`,
      values: [name, from + 1, to],
    })
  }

  async function countOf(name: string): Promise<number> {
    return database.prisma.token.count({ where: { clientId: name } })
  }

  async function serve(lane: number): Promise<void> {
    let family = await beginFamily(installation, (await seats.take()).person)
    for (let process = lane; loading; process++) {
      const answer = await timed(() => ask.refresh(process, family))
      if (!findings.expect(answer.status === 200, `a refresh got ${answer.status} ${answer.body.error}`)) return
      family = advanced(family, answer)
      for (let n = 0; n < 3; n++) {
        const seen = await timed(() => ask.introspect(process + n, family.clientId, family.access))
        findings.expect(seen.body.active === true, `a live token is not active: ${seen.status}`)
      }
    }
  }

  async function timed<T>(send: () => Promise<T>): Promise<T> {
    const during = phase
    const sent = performance.now()
    const answer = await send()
    if (during && during === phase) latencies[during].push(performance.now() - sent)
    return answer
  }
}
