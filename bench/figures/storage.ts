// What one operation asks of the database when it travels alone: round trips, counted on the wire, and durable commits, counted
// by the transaction numbers that PostgreSQL gave out (a transaction that only reads gets none). Under load several operations
// share both. What they cannot share is what is written: the bytes of the write-ahead log, which is also what a replica receives.
import pg from 'pg'
import { startArm } from '../arms/arms.ts'
import { Connection } from '../connection.ts'
import { startCountingProxy } from '../counting-proxy.ts'
import { median } from '../load.ts'
import {
  clientCredentialsJwt,
  clientCredentialsOpaque,
  introspectionOpaque,
  revocation,
} from '../scenarios/client-credentials.ts'
import { codeFlow, consentedLogin, passwordLogin, refresh } from '../scenarios/code-flow.ts'
import { type Scenario, targetAt } from '../scenarios/scenario.ts'
import type { Figure, FigureSource } from './figure.ts'

type Case = { scenario: Scenario; name: string; title: string; roundTrips?: number; commits?: number; note?: string }

/** They get transaction numbers (and one more for each savepoint inside), but nobody waits for the disk (docs/decisions/020). */
const counters = 'the two counters of guesses among them are not flushed'

const cases: readonly Case[] = [
  { scenario: clientCredentialsJwt, name: 'ccJwt', title: 'client_credentials, JWT' },
  { scenario: clientCredentialsOpaque, name: 'ccOpaque', title: 'client_credentials, opaque' },
  { scenario: introspectionOpaque, name: 'introspection', title: 'introspection, opaque' },
  { scenario: refresh, name: 'refresh', title: 'refresh' },
  { scenario: revocation, name: 'revocation', title: 'issue and revoke' },
  { scenario: codeFlow, name: 'codeFlow', title: 'code flow, signed in', roundTrips: 8, commits: 4 },
  {
    scenario: passwordLogin,
    name: 'login',
    title: 'code flow with sign-in',
    roundTrips: 8,
    commits: 4,
    note: counters,
  },
  {
    scenario: consentedLogin,
    name: 'loginAndConsent',
    title: 'code flow with sign-in and consent',
    commits: 6,
    note: counters,
  },
]
const repetitions = 15

export const storage: FigureSource = {
  name: 'storage',
  async measure(run) {
    const databaseUrl = await run.postgres.createDatabase('counted')
    const proxy = await startCountingProxy(databaseUrl)
    const observer = new pg.Client({ connectionString: databaseUrl })
    await observer.connect()
    const arm = await startArm('ours', { ...run, databaseUrl: proxy.url })
    const figures: Figure[] = []
    try {
      for (const { scenario, name, title, ...goals } of cases) {
        const counts = await count(scenario, arm.port, proxy, observer)
        figures.push(
          {
            name: `${name}RoundTrips`,
            title: `storage round trips: ${title}`,
            value: counts.roundTrips,
            unit: '',
            ...(goals.roundTrips ? { goal: { atMost: goals.roundTrips } } : {}),
          },
          {
            name: `${name}Commits`,
            title: `durable commits: ${title}`,
            value: counts.commits,
            unit: '',
            ...(goals.commits ? { goal: { atMost: goals.commits } } : {}),
            ...(goals.note ? { note: goals.note } : {}),
          },
          { name: `${name}Wal`, title: `write-ahead log: ${title}`, value: counts.walBytes, unit: 'bytes' },
        )
      }
    } finally {
      await arm.stop()
      await observer.end()
      proxy.stop()
    }
    return figures
  },
}

/** The median of single operations: what runs in the background (the poll for changed configuration) touches few of them. */
async function count(
  scenario: Scenario,
  port: number,
  proxy: { roundTrips(): number },
  observer: pg.Client,
): Promise<{ roundTrips: number; commits: number; walBytes: number }> {
  const operation = await scenario.prepare(targetAt(port, 1))
  const connection = await Connection.open(port)
  const roundTrips: number[] = []
  const commits: number[] = []
  const walBytes: number[] = []
  try {
    for (let n = 0; n < repetitions; n++) {
      const before = { roundTrips: proxy.roundTrips(), ...(await written(observer)) }
      await operation(connection, 0)
      roundTrips.push(proxy.roundTrips() - before.roundTrips)
      const after = await written(observer)
      commits.push(after.transaction - before.transaction)
      walBytes.push(after.position - before.position)
    }
  } finally {
    connection.close()
  }
  return { roundTrips: median(roundTrips), commits: median(commits), walBytes: median(walBytes) }
}

async function written(observer: pg.Client): Promise<{ transaction: number; position: number }> {
  const { rows } = await observer.query<{ transaction: string; position: string }>(
    `SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS transaction, (pg_current_wal_insert_lsn() - '0/0')::text AS position`,
  )
  return { transaction: Number(rows[0]?.transaction), position: Number(rows[0]?.position) }
}
