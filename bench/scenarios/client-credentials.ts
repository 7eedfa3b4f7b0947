// A service asks for a token of its own, and what happens to such a token.
import { type Connection, WrongAnswer } from '../connection.ts'
import { basic, orders, stock } from '../installation.ts'
import type { Operation } from '../load.ts'
import { form, json, type Scenario, spread, type Target, tokensOf } from './scenario.ts'

const reports = basic('reports')
const isJwt = /^[\w-]+\.[\w-]+\.[\w-]+$/
const isOpaque = /^[\w-]{43,}$/

type Format = 'jwt' | 'opaque'
const requests = {
  jwt: form({ grant_type: 'client_credentials', resource: orders, scope: 'orders:read' }),
  opaque: form({ grant_type: 'client_credentials', resource: stock, scope: 'stock:read' }),
}

export const clientCredentialsJwt: Scenario = {
  name: 'cc-jwt',
  title: 'client_credentials, JWT ES256',
  arms: ['engine-memory', 'engine-postgres', 'ours'],
  goals: [{ against: 'engine-memory', atLeast: 1 }],
  p99Compared: true,
  prepare: async () => async (connection) => {
    await issue(connection, 'jwt')
  },
}

export const clientCredentialsOpaque: Scenario = {
  name: 'cc-opaque',
  title: 'client_credentials, opaque',
  arms: ['engine-memory', 'engine-postgres', 'ours'],
  goals: [{ against: 'engine-memory', atLeast: 0.95 }],
  p99Compared: true,
  prepare: async () => async (connection) => {
    await issue(connection, 'opaque')
  },
}

export const introspectionOpaque: Scenario = {
  name: 'introspect-opaque',
  title: 'introspection, opaque',
  arms: ['engine-memory', 'engine-postgres', 'ours'],
  goals: [{ against: 'engine-memory', atLeast: 1 }],
  p99Compared: true,
  prepare: (target) => introspection(target, 'opaque'),
}

/** The same with as many tokens as are wanted. */
export function introspectionAmong(tokens: number): Scenario {
  return { ...introspectionOpaque, prepare: (target) => introspection(target, 'opaque', tokens) }
}

export const introspectionJwt: Scenario = {
  name: 'introspect-jwt',
  title: 'introspection, JWT', // the engine refuses its own JWTs
  arms: ['ours'],
  goals: [],
  prepare: (target) => introspection(target, 'jwt'),
}

export const revocation: Scenario = {
  name: 'revoke',
  title: 'issue and revoke, opaque',
  arms: ['engine-memory', 'engine-postgres', 'ours'],
  goals: [],
  prepare: async () => async (connection) => {
    const token = await issue(connection, 'opaque')
    const answer = await connection.post('/oauth/revoke', reports, form({ token }))
    if (answer.status !== 200) throw new WrongAnswer(`revocation: ${answer.status} ${answer.body}`)
  },
}

async function introspection(target: Target, format: Format, count = 256): Promise<Operation> {
  const [caller, clientId] = format === 'jwt' ? [basic('orders-api'), 'reports'] : [basic('stock-api'), 'reports']
  const tokens = await target.withConnections((connections) =>
    spread(connections, count, (connection) => issue(connection, format)),
  )
  let next = 0
  return async (connection) => {
    const token = tokens[next++ % tokens.length] ?? ''
    const answer = json(await connection.post('/oauth/introspect', caller, `token=${token}`))
    if (answer.active !== true || answer.client_id !== clientId)
      throw new WrongAnswer(`introspection: ${JSON.stringify(answer)}`)
  }
}

async function issue(connection: Connection, format: Format): Promise<string> {
  const { access_token: token } = tokensOf(await connection.post('/oauth/token', reports, requests[format]))
  if (!(format === 'jwt' ? isJwt : isOpaque).test(token)) throw new WrongAnswer(`not ${format}: ${token}`)
  return token
}
