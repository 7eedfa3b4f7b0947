// What a scenario is, and how it asks and checks.
import type { ArmName } from '../arms/arms.ts'
import { type Answer, Connection, WrongAnswer } from '../connection.ts'
import type { Operation } from '../load.ts'

export type Scenario = {
  /** As given to --only. */
  name: string
  title: string
  arms: readonly ArmName[]
  /** The ratio baseline / ours that the project set itself. */
  goals: readonly Goal[]
  /** The 99th percentile beside the bare engine's: where both do the same work. */
  p99Compared?: true
  /** Everything that is not to be measured: sign in, issue what will be asked about. @returns what to repeat. */
  prepare(target: Target): Promise<Operation>
}

/** `atLeast`: baseline's CPU per operation / ours. `atMost`: ours / baseline's. */
export type Goal = { against: ArmName; atLeast: number } | { against: ArmName; atMost: number }

export type Target = {
  port: number
  lanes: number
  /** As many connections as lanes, for the preparation only. */
  withConnections<T>(work: (connections: readonly Connection[]) => Promise<T>): Promise<T>
}

export function targetAt(port: number, lanes: number): Target {
  return {
    port,
    lanes,
    async withConnections(work) {
      const connections = await Promise.all(Array.from({ length: lanes }, () => Connection.open(port)))
      try {
        return await work(connections)
      } finally {
        for (const connection of connections) connection.close()
      }
    },
  }
}

export type Tokens = {
  access_token: string
  refresh_token?: string
  id_token?: string
  token_type: string
  expires_in: number
}

/** @returns the tokens of a token response. @throws WrongAnswer for anything that is not one. */
export function tokensOf(answer: Answer): Tokens {
  const tokens = json(answer) as Partial<Tokens>
  if (!tokens.access_token || tokens.token_type !== 'Bearer' || !(Number(tokens.expires_in) > 0))
    throw new WrongAnswer(`no tokens: ${answer.body.slice(0, 500)}`)
  return tokens as Tokens
}

export function json(answer: Answer): Record<string, unknown> {
  if (answer.status !== 200) throw new WrongAnswer(`expected 200, not ${answer.status}: ${answer.body.slice(0, 500)}`)
  return JSON.parse(answer.body) as Record<string, unknown>
}

export function form(fields: Record<string, string>): string {
  return new URLSearchParams(fields).toString()
}

/** Runs `work` for each number below `count`, a few at a time, each few on a connection of their own. */
export async function spread<T>(
  connections: readonly Connection[],
  count: number,
  work: (connection: Connection, n: number) => Promise<T>,
): Promise<T[]> {
  const results: T[] = []
  let next = 0
  await Promise.all(
    connections.map(async (connection) => {
      for (let n = next++; n < count; n = next++) results[n] = await work(connection, n)
    }),
  )
  return results
}
