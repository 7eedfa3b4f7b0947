// May they? Asked over HTTP, by an API that asks AuthZEN and by a gateway. What they need is put in place by figures/second-door.ts.
import { WrongAnswer } from '../connection.ts'
import { basic, orders } from '../installation.ts'
import { form, json, type Scenario, tokensOf } from './scenario.ts'

export const objects = 1_000
/** Everybody's order is theirs alone: order:<n> belongs to user <n>. */
export const personOf = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

/** Scope of the caller, and the relation of the person. */
export const evaluation: Scenario = {
  name: 'evaluation',
  title: 'AuthZEN evaluation, by a relation',
  arms: ['ours'],
  goals: [],
  prepare: async () => {
    let n = 0
    const headers = `${basic('pdp')}Content-Type: application/json\r\n` // of two the first counts
    return async (connection) => {
      const id = n++ % objects
      const question = {
        subject: { type: 'user', id: personOf(id) },
        action: { name: 'orders:read' },
        resource: { type: 'order', id: String(id) },
        context: { audience: orders },
      }
      const answer = json(await connection.post('/access/v1/evaluation', headers, JSON.stringify(question)))
      if (answer.decision !== true) throw new WrongAnswer(`evaluation: ${JSON.stringify(answer)}`)
    }
  },
}

/** A JWT, its scope and a route of a gateway. */
export const forwardAuth: Scenario = {
  name: 'forward-auth',
  title: 'forward-auth, JWT and scope',
  arms: ['ours'],
  goals: [],
  prepare: async (target) => {
    const asking = form({ grant_type: 'client_credentials', resource: orders, scope: 'orders:read' })
    const token = await target.withConnections(async ([connection]) => {
      if (!connection) throw new Error('there is no connection')
      return tokensOf(await connection.post('/oauth/token', basic('reports'), asking)).access_token
    })
    const headers = [
      `Authorization: Bearer ${token}`,
      'X-Forwarded-Method: GET',
      'X-Forwarded-Proto: https',
      'X-Forwarded-Host: api.example.com',
      'X-Forwarded-Uri: /orders/88',
      '',
    ].join('\r\n')
    return async (connection) => {
      const answer = await connection.get('/authz/forward', headers)
      if (answer.status !== 200) throw new WrongAnswer(`forward-auth: ${answer.status} ${answer.body}`)
    }
  },
}
