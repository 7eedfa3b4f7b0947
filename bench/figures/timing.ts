// Does the time of an answer tell who has an account (ASVS 6.3.8)? Known and unknown addresses by turns, each asked in the same state:
// what limits guesses and mails is forgotten in between, since it counts both alike and would end the measurement after five.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { startArm } from '../arms/arms.ts'
import { Browser, formOf, locationOf } from '../browser.ts'
import { type Answer, Connection, WrongAnswer } from '../connection.ts'
import { people, shops } from '../installation.ts'
import { median } from '../load.ts'
import { authorizationRequest } from '../scenarios/code-flow.ts'
import type { FigureSource } from './figure.ts'

type Kind = 'known' | 'unknown'

export const timing: FigureSource = {
  name: 'timing',
  async measure(run) {
    // Mails have somewhere to go, and never arrive: sending is not part of any answer.
    const arm = await startArm('ours', { ...run, env: { SMTP_URL: 'smtp://127.0.0.1:9' } })
    const { port, databaseUrl } = arm
    const tries = run.settings.mode === 'quick' ? 100 : 500
    const database = new pg.Client({ connectionString: databaseUrl })
    await database.connect()
    const forget = async () => {
      await database.query('DELETE FROM guess_limit')
      await database.query('DELETE FROM mail')
    }
    const ways = [
      { name: 'login', title: 'a wrong password', ask: wrongPassword },
      { name: 'recovery', title: 'a forgotten password', ask: forgotten },
    ]
    try {
      const figures = []
      for (const { name, title, ask } of ways) {
        const times: Record<Kind, number[]> = { known: [], unknown: [] }
        for (let n = 0; n < tries + 10; n++)
          for (const kind of n % 2 === 0 ? (['known', 'unknown'] as const) : (['unknown', 'known'] as const)) {
            await forget()
            const ms = await ask(
              port,
              kind === 'known' ? (people[n % people.length] ?? '') : `${randomUUID()}@example.com`,
            )
            if (n >= 10) times[kind].push(ms) // the first ones warm up
          }
        const [known, unknown] = [median(times.known), median(times.unknown)]
        figures.push({
          name: `timing.${name}`,
          title: `${title}: known and unknown people differ by (medians of ${tries} each)`,
          value: Math.abs(known - unknown),
          unit: 'ms',
          goal: { atMost: 2 },
          note: `${known.toFixed(2)} and ${unknown.toFixed(2)} ms, Welch t ${welch(times.known, times.unknown).toFixed(1)}`,
        })
      }
      return figures
    } finally {
      await database.end()
      await arm.stop()
    }
  },
}

async function wrongPassword(port: number, person: string): Promise<number> {
  return asked(
    port,
    person,
    'login',
    (fields) => {
      fields.set('identifier', person)
      fields.set('password', 'not the password of anybody')
    },
    401,
  )
}

async function forgotten(port: number, person: string): Promise<number> {
  return asked(port, person, 'recovery', (fields) => fields.set('email', person), 200)
}

/** @returns milliseconds from the form to its answer, in a request of its own. */
async function asked(
  port: number,
  person: string,
  step: string,
  fill: (fields: URLSearchParams) => void,
  expected: number,
): Promise<number> {
  const connection = await Connection.open(port)
  try {
    const browser = new Browser(connection)
    const { path } = authorizationRequest(shops[0], person)
    const interaction = locationOf(await browser.get(path))
    const page = `${interaction}/${step}`
    const fields = formOf(await browser.get(page))
    fill(fields)
    const begun = performance.now()
    const answer: Answer = await browser.post(page, fields)
    const ms = performance.now() - begun
    if (answer.status !== expected && !(expected === 200 && answer.status === 303))
      throw new WrongAnswer(`${step}: ${answer.status} ${answer.body.slice(0, 500)}`)
    return ms
  } finally {
    connection.close()
  }
}

/** Welch's t: how sure it is that two means differ; beyond 4.5 a difference, however small, is real (ISO/IEC 17825). */
function welch(a: readonly number[], b: readonly number[]): number {
  const of = (values: readonly number[]) => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    return {
      mean,
      spread: values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1) / values.length,
    }
  }
  const [x, y] = [of(a), of(b)]
  return (x.mean - y.mean) / Math.sqrt(x.spread + y.spread)
}
