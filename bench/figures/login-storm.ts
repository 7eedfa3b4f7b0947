// Tokens while a crowd signs in: the hashing stands behind the serving, and what is too much is refused at once. Here the server
// has both cores of the machine, as it would in use; the load takes its share of one.
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { startArm } from '../arms/arms.ts'
import { Browser } from '../browser.ts'
import { Connection } from '../connection.ts'
import { median, openLoop, percentile } from '../load.ts'
import { clientCredentialsOpaque } from '../scenarios/client-credentials.ts'
import { type Attempt, attemptLogin } from '../scenarios/code-flow.ts'
import { targetAt } from '../scenarios/scenario.ts'
import type { FigureSource } from './figure.ts'

const crowd = 96 // more than are let wait
const lanes = 32
const tokensPerSecond = 300

export const loginStorm: FigureSource = {
  name: 'login-storm',
  async measure(run) {
    const arm = await startArm('ours', { ...run, cores: '0,1' })
    const { port } = arm
    const outcomes: Attempt[] = []
    const p99 = { calm: [] as number[], storm: [] as number[] }
    const { seconds, rounds } = run.settings
    try {
      const operation = await clientCredentialsOpaque.prepare(targetAt(port, lanes))
      const tokens = () => openLoop({ port, lanes, perSecond: tokensPerSecond, seconds, operation })
      await tokens() // warm
      await gather(arm.databaseUrl)
      for (let round = 0; round < rounds; round++) {
        p99.calm.push(percentile((await tokens()).milliseconds, 0.99))
        const storm = startStorm(port, outcomes)
        await delay(500)
        p99.storm.push(percentile((await tokens()).milliseconds, 0.99))
        await storm.end()
      }
    } finally {
      await arm.stop()
    }
    const refused = outcomes.filter(({ status }) => status === 503).map(({ milliseconds }) => milliseconds)
    return [
      { name: 'calmP99', title: `token p99, calm, ${tokensPerSecond}/s`, value: median(p99.calm), unit: 'ms' },
      { name: 'stormP99', title: 'token p99 during a login storm', value: median(p99.storm), unit: 'ms' },
      {
        name: 'stormRatio',
        title: 'token p99, storm / calm',
        value: median(p99.storm) / median(p99.calm),
        unit: 'times',
        goal: { atMost: 2 },
        note: `${crowd} at once; ${outcomes.length - refused.length} signed in, ${refused.length} told to come back`,
      },
      {
        name: 'refusedMedian',
        title: 'a refused login is answered within (median)',
        value: median(refused),
        unit: 'ms',
      },
    ]
  },
}

const crowdMember = (n: number) => `crowd-${n}@example.com`

/** A person for each: several passwords of one person at once would be refused as guesses before any is hashed. All have one hash. */
async function gather(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    await client.query(
      `WITH made AS (INSERT INTO users (id, email, email_key, email_verified_at)
         SELECT gen_random_uuid(), e, e, now() FROM unnest($1::text[]) e RETURNING id)
       INSERT INTO credential (id, user_id, kind, secret)
         SELECT gen_random_uuid(), made.id, 'password', (SELECT secret FROM credential WHERE kind = 'password' LIMIT 1) FROM made`,
      [Array.from({ length: crowd }, (_, n) => crowdMember(n))],
    )
  } finally {
    await client.end()
  }
}

function startStorm(port: number, outcomes: Attempt[]) {
  const over = new AbortController()
  const attempts = Array.from({ length: crowd }, async (_, n) => {
    const connection = await Connection.open(port)
    while (!over.signal.aborted) {
      const outcome = await attemptLogin(new Browser(connection), crowdMember(n))
      outcomes.push(outcome)
      await delay(outcome.retryAfterSeconds * 1000, undefined, { signal: over.signal }).catch(() => undefined)
    }
    connection.close()
  })
  const all = Promise.all(attempts)
  all.catch(() => undefined) // told to whoever ends the storm
  return {
    async end() {
      over.abort()
      await all
    },
  }
}
