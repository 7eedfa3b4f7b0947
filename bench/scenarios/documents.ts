// What every relying party and every API reads: discovery and the keys.
import { WrongAnswer } from '../connection.ts'
import { json, type Scenario } from './scenario.ts'

export const hello: Scenario = {
  name: 'hello',
  title: 'hello, bare Koa',
  arms: ['koa'],
  goals: [],
  async prepare() {
    return async (connection) => {
      const answer = await connection.get('/')
      if (answer.status !== 200 || answer.body !== 'hello') throw new WrongAnswer(`hello? ${answer.status}`)
    }
  },
}

export const discovery: Scenario = {
  name: 'discovery',
  title: 'discovery',
  arms: ['engine-memory', 'ours'],
  goals: [
    { against: 'engine-memory', atLeast: 3 },
    { against: 'koa', atMost: 1.5 },
  ],
  async prepare(target) {
    return async (connection) => {
      if (json(await connection.get('/.well-known/openid-configuration')).issuer !== `http://localhost:${target.port}`)
        throw new WrongAnswer('discovery names another issuer')
    }
  },
}

export const jwks: Scenario = {
  name: 'jwks',
  title: 'JWKS',
  arms: ['engine-memory', 'ours'],
  goals: [
    { against: 'engine-memory', atLeast: 2 },
    { against: 'koa', atMost: 1.5 },
  ],
  async prepare() {
    return async (connection) => {
      const { keys } = json(await connection.get('/oauth/jwks')) as { keys?: { kty?: string; d?: string }[] }
      if (!keys?.some((key) => key.kty === 'EC') || keys.some((key) => key.d)) throw new WrongAnswer('no usable keys')
    }
  },
}
