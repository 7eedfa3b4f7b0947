// R3: kill -9 of the server, at moments of chance and at five chosen ones. Afterwards every family goes on, with the token that its client
// holds or with the one whose answer was lost: never with none, never with both.
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { advanced, asking, beginFamily, type Family, openSeats } from './families.ts'
import { type Installation, rowIdOf, type Server } from './installation.ts'
import { createFindings, quantile, type Report, times } from './report.ts'
import { Unanswered } from './traffic.ts'
import { type Moment, openWire } from './wire.ts'

export type KilledServerSize = {
  /** At moments of chance. */
  kills: number
  /** At each of the five points. */
  each: number
  families: number
}

/** How one server is started, and how it dies. */
type Death = {
  name: string
  preload?: string
  env?: Record<string, string>
  wired?: boolean
  dies(server: Server): Promise<void>
}

/** What one client holds. */
type Holder = { family: Family; leave(): void; waiting: boolean }

const crashPoints = join(import.meta.dirname, 'crash-points.ts')
const insidePoints = ['before consume', 'after consume', 'after save']
const wirePoints: [name: string, moment: Moment][] = [
  ['before commit', 'before'],
  ['after commit', 'after'],
]

export async function killedServer(installation: Installation, size: KilledServerSize): Promise<Report> {
  const { database, postgres, traffic } = installation
  const findings = createFindings()
  const ask = asking(installation)
  const wire = await openWire(postgres.url)
  const startTimes: number[] = []
  const inFlight: Record<string, { killed: number; waiting: number; committed: number }> = {}
  let refreshes = 0

  const deaths = [
    ...times(size.kills, atRandom),
    ...[...insidePoints.map(inside), ...wirePoints.map(onTheWire)].flatMap((death) => times(size.each, () => death)),
  ]
  let server = await start(deaths[0])
  const seats = await openSeats(installation, size.families)
  const holders = await Promise.all(times(size.families, begin))
  traffic.tally()

  for (const [round, death] of deaths.entries()) {
    const load = holders.map(refreshUntilItBreaks)
    await death.dies(server)
    await server.kill()
    await Promise.all(load)
    const { killed = 0, waiting = 0, committed = 0 } = inFlight[death.name] ?? {}
    inFlight[death.name] = {
      killed: killed + 1,
      waiting: waiting + holders.filter((holder) => holder.waiting).length,
      committed: committed + (await howManyRotated(holders.map(({ family }) => family))),
    }

    server = await start(deaths[round + 1])
    const before = holders.map(({ family }) => family)
    await Promise.all(holders.map((holder) => goesOn(holder, death.name)))
    await oneHeadEach(death.name)
    const chosen = round % holders.length
    holders[chosen] = await neverBoth(holders[chosen] as Holder, before[chosen] as Family, death.name)
  }

  const tally = traffic.tally()
  for (const [status, count] of Object.entries(tally))
    findings.expect(Number(status) < 500 || status === '503', `${count} answers had status ${status}`)
  await server.kill()
  await wire.close()
  return findings.report({
    kills: deaths.length,
    'refreshes under load': refreshes,
    ...Object.fromEntries(
      Object.entries(inFlight).map(([name, { killed, waiting, committed }]) => [
        `killed ${name}`,
        `${killed}, ${waiting} rotations under way, ${committed} of them committed`,
      ]),
    ),
    'start to ready, ms, p50 / p99 / max': [0.5, 0.99, 1].map((part) => quantile(startTimes, part)).join(' / '),
    answers: JSON.stringify(tally),
  })

  async function start(death: Death | undefined): Promise<Server> {
    const { preload, env = {}, wired = false } = death ?? {}
    const started = await installation.start(0, {
      env,
      ...(preload ? { preload } : {}),
      ...(wired ? { databaseUrl: wire.url } : {}),
    })
    startTimes.push(started.readyAfter)
    return started
  }

  function atRandom(): Death {
    return { name: 'at random', dies: () => delay(20 + Math.random() * 200) }
  }

  function inside(point: string): Death {
    return {
      name: point,
      preload: crashPoints,
      env: { CHAOS_CRASH_AT: point },
      async dies({ running }) {
        running.child.kill('SIGUSR2')
        const { signal } = await running.ended(10_000)
        findings.expect(signal === 'SIGKILL', `${point}: the server ended with ${signal}`)
      },
    }
  }

  function onTheWire([name, moment]: (typeof wirePoints)[number]): Death {
    return {
      name,
      wired: true,
      async dies({ kill }) {
        const { reached, release } = wire.hold(moment)
        await reached.catch((error: Error) => findings.note(error.message))
        await kill()
        release()
      },
    }
  }

  async function begin(): Promise<Holder> {
    const { person, leave } = await seats.take()
    return { family: await beginFamily(installation, person), leave, waiting: false }
  }

  async function refreshUntilItBreaks(holder: Holder): Promise<void> {
    for (;;) {
      try {
        holder.waiting = true
        const answer = await ask.refresh(0, holder.family)
        holder.waiting = false
        if (!findings.expect(answer.status === 200, `under load: ${answer.status} ${answer.body.error}`)) return
        holder.family = advanced(holder.family, answer)
        refreshes++
      } catch (error) {
        if (!(error instanceof Unanswered)) throw error
        return
      }
    }
  }

  /** Of tokens whose clients never got an answer. */
  async function howManyRotated(families: readonly Family[]): Promise<number> {
    const { rows } = await database.pool.query<{ count: number }>(
      'SELECT count(*)::int AS count FROM token WHERE id = ANY($1) AND consumed_at IS NOT NULL',
      [families.map(({ refresh }) => rowIdOf(refresh))],
    )
    return rows[0]?.count ?? 0
  }

  /** Not lost: what was answered still works, and the token that the client holds is good for another. */
  async function goesOn(holder: Holder, when: string): Promise<void> {
    const old = await ask.userinfo(0, holder.family.access)
    findings.expect(old.status === 200, `${when}: an access token that was answered is refused: ${old.status}`)
    const answer = await ask.refresh(0, holder.family)
    if (!findings.expect(answer.status === 200, `${when}: a family was lost: ${answer.status} ${answer.body.error}`))
      return
    holder.family = advanced(holder.family, answer)
    const fresh = await ask.userinfo(0, holder.family.access)
    findings.expect(fresh.status === 200, `${when}: a new access token is refused: ${fresh.status}`)
  }

  async function oneHeadEach(when: string): Promise<void> {
    const { rows } = await database.pool.query<{ heads: number }>(
      `SELECT count(*) FILTER (WHERE kind = 2 AND consumed_at IS NULL AND revoked_at IS NULL)::int AS heads FROM token
       WHERE grant_id IN (SELECT grant_id FROM token WHERE id = ANY($1)) GROUP BY grant_id`,
      [holders.map(({ family }) => rowIdOf(family.refresh))],
    )
    findings.expect(rows.length === holders.length, `${when}: ${rows.length} grants for ${holders.length} families`)
    for (const { heads } of rows) findings.expect(heads === 1, `${when}: a family has ${heads} heads`)
  }

  /** The token from before the kill, presented once its successor was used, is reuse: then neither branch works. */
  async function neverBoth(holder: Holder, before: Family, when: string): Promise<Holder> {
    const next = await ask.refresh(0, holder.family)
    const reused = await ask.refresh(0, before)
    findings.expect(
      reused.body.error === 'invalid_grant',
      `${when}: the old token works beside the new: ${reused.status}`,
    )
    const after = await ask.refresh(0, advanced(holder.family, next))
    findings.expect(after.body.error === 'invalid_grant', `${when}: a family outlived its reuse: ${after.status}`)
    holder.leave()
    return begin()
  }
}
