// R5: the database dies under load (`pg_ctl stop -m immediate`) and comes back. While it is away the answer is 503 and nothing else; when it is back
// the same processes serve again, and whatever was answered with 200 is there.
import { setTimeout as delay } from 'node:timers/promises'
import { advanced, asking, beginFamily, type Family, openSeats } from './families.ts'
import { type Installation, rowIdOf } from './installation.ts'
import { createFindings, quantile, type Report, times } from './report.ts'
import type { Answer } from './traffic.ts'

export type KilledDatabaseSize = { kills: number; families: number; loadMs: number }

const maxOutageMs = 30_000

export async function killedDatabase(installation: Installation, size: KilledDatabaseSize): Promise<Report> {
  const { database, journey, postgres, traffic } = installation
  const servers = await Promise.all([installation.start(0), installation.start(1)])
  const findings = createFindings()
  const ask = asking(installation)
  const seats = await openSeats(installation, size.families)
  const families = await Promise.all(
    times(size.families, async (n) => beginFamily(installation, (await seats.take()).person, { jwt: n % 2 === 1 })),
  )
  traffic.tally()

  /** Every token that was answered with 200. */
  const promised: string[] = []
  const recoveries: number[] = []
  const refusals: number[] = []
  const lastSuccess = families.map(() => 0)
  let loading = true
  const load = families.map((family, lane) => useAndRefresh(family, lane))

  for (let n = 0; n < size.kills; n++) {
    await delay(size.loadMs)
    await postgres.kill()
    await Promise.all(servers.map((_, process) => servesWhatNeedsNoDatabase(process)))
    await delay(Math.random() * 500)
    await postgres.restart()
    const back = performance.now()
    while (lastSuccess.some((at) => at < back) && performance.now() < back + maxOutageMs) await delay(5)
    recoveries.push(Math.max(...lastSuccess.map((at) => (at < back ? Infinity : at))) - back)
    if (!findings.expect(recoveries.at(-1) !== Infinity, 'a client is not served any more')) break
    await everythingPromisedIsThere()
  }

  loading = false
  await Promise.all(load)
  const underLoad = traffic.tally()
  for (const process of servers.keys())
    for (let n = 0; n < 50; n++) {
      const { status } = await traffic.send(process, clientCredentials(n))
      findings.expect(status === 200, `after all is over: ${status}`)
    }
  for (const { running, kill } of servers) {
    const { exitCode, signalCode } = running.child
    findings.expect(exitCode === null && signalCode === null, `a server ended: ${exitCode ?? signalCode}`)
    await kill()
  }
  return findings.report({
    kills: size.kills,
    'tokens answered': promised.length,
    'recovery after the database is up, ms, p50 / max': `${quantile(recoveries, 0.5)} / ${quantile(recoveries, 1)}`,
    'longest 503, ms': quantile(refusals, 1),
    answers: JSON.stringify(underLoad),
  })

  /** A client that is patient: after a 503 it asks again for the same. */
  async function useAndRefresh(begun: Family, lane: number): Promise<void> {
    let family = begun
    for (let process = lane; loading; process++) {
      const refreshed = await insist(lane, () => ask.refresh(process, family))
      if (!refreshed) return
      family = advanced(family, refreshed)
      promised.push(family.refresh, family.access)
      const seen = await insist(lane, () => ask.introspect(process, family.clientId, family.access))
      findings.expect(!seen || seen.body.active === true, 'a token that was answered is not active')
      const issued = await insist(lane, () => traffic.send(process, clientCredentials(process)))
      if (issued) promised.push(String(issued.body.access_token))
    }
  }

  /** @returns the answer that is not 503; undefined when that is a wrong one, or when all is over before there is one. */
  async function insist(lane: number, send: () => Promise<Answer>): Promise<Answer | undefined> {
    while (loading) {
      const sent = performance.now()
      const answer = await send()
      const { status, body, headers } = answer
      if (status === 200) {
        lastSuccess[lane] = performance.now()
        return answer
      }
      if (!findings.expect(status === 503, `${status} ${JSON.stringify(body)}`)) return undefined
      findings.expect(headers['retry-after'] !== undefined, 'a 503 without Retry-After')
      refusals.push(performance.now() - sent)
      await delay(30)
    }
    return undefined
  }

  /** By turns opaque and JWT. */
  function clientCredentials(turn: number) {
    return {
      path: '/oauth/token',
      form: { grant_type: 'client_credentials', scope: turn % 2 ? 'orders:read' : 'stock:read' },
      headers: { Authorization: journey.basic('reports') },
    }
  }

  async function servesWhatNeedsNoDatabase(process: number): Promise<void> {
    for (const [path, wanted] of [
      ['/healthz', 200],
      ['/oauth/jwks', 200],
      ['/.well-known/openid-configuration', 200],
      ['/readyz', 503],
    ] as const) {
      const { status } = await traffic.send(process, { path })
      findings.expect(status === wanted, `without a database ${path} answers ${status}`)
    }
  }

  async function everythingPromisedIsThere(): Promise<void> {
    const ids = promised.map((token) => rowIdOf(token).toString('hex'))
    const { rows } = await database.pool.query<{ id: string }>(
      `SELECT encode(id, 'hex') AS id FROM token WHERE id = ANY(SELECT decode(x, 'hex') FROM unnest($1::text[]) x)`,
      [ids],
    )
    const there = new Set(rows.map(({ id }) => id))
    const lost = ids.filter((id) => !there.has(id)).length
    findings.expect(lost === 0, `${lost} tokens that were answered are not in the database`)
  }
}
