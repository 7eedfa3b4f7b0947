// What a decision costs: in this process against a real PostgreSQL (scope, role and relation are looked at for each), and over HTTP beside the
// introspection of an opaque token.

import { setTimeout as delay } from 'node:timers/promises'
import { decideAction } from '#src/access/decide.ts'
import { writeRelations } from '#src/access/relations/relations.ts'
import { readApis } from '#src/apis/api-reads.ts'
import { updateApi } from '#src/apis/apis.ts'
import { putRoute } from '#src/apis/routes.ts'
import { createClient } from '#src/clients/clients.ts'
import { closeDatabase, type Database, openDatabase } from '#src/db/database.ts'
import { startArm } from '../arms/arms.ts'
import { orders, secret } from '../installation.ts'
import { median } from '../load.ts'
import { measure } from '../measure.ts'
import { introspectionOpaque } from '../scenarios/client-credentials.ts'
import { evaluation, forwardAuth, objects, personOf } from '../scenarios/second-door.ts'
import type { Figure, FigureSource } from './figure.ts'

const atOnce = 64

export const secondDoor: FigureSource = {
  name: 'second-door',
  async measure(run) {
    const { lanes, seconds, rounds } = run.settings
    const arm = await startArm('ours', { ...run, env: { TRUST_PROXY: '127.0.0.0/8,::1' } })
    const database = openDatabase(arm.databaseUrl, { poolSize: 10, onError: () => undefined })
    const scenarios = [introspectionOpaque, evaluation, forwardAuth]
    const costs = scenarios.map((): number[] => [])
    try {
      await furnish(database)
      await delay(1_000) // the server sees its configuration move within 400 ms
      for (let round = 0; round < rounds; round++)
        for (const [n, scenario] of scenarios.entries()) {
          const options = { round, lanes, seconds, warmUpSeconds: round === 0 ? 3 : 1 }
          costs[n]?.push((await measure(scenario, arm, options)).cpuMicroseconds)
        }
      return [...overHttp(costs), ...(await inProcess(database, seconds))]
    } finally {
      await closeDatabase(database)
      await arm.stop()
    }
  },
}

function overHttp([introspection = [], ...others]: number[][]): Figure[] {
  const base = median(introspection)
  const titles = [
    ['evaluation', 'AuthZEN evaluation by a relation: CPU of an opaque introspection / of one'],
    ['forward', 'forward-auth with a JWT and a scope: the same'],
  ] as const
  return titles.map(([name, title], n) => {
    const cost = median(others[n] ?? [])
    const goal = name === 'evaluation' ? { goal: { atLeast: 0.8 } } : {}
    return {
      name: `second-door.${name}`,
      title,
      value: base / cost,
      unit: '',
      ...goal,
      note: `${cost.toFixed(0)} us, introspection ${base.toFixed(0)} us`,
    }
  })
}

/** @returns decisions a second for each second of this process's CPU. */
async function inProcess(database: Database, seconds: number): Promise<Figure[]> {
  const [api] = (await readApis(database)).filter(({ identifier }) => identifier === orders)
  if (!api) throw new Error('the API is not there')
  const deps = { database, now: () => new Date(), policiesOf: () => undefined }
  const credential = {
    ...{ method: 'oauth' as const, clientId: 'shop', scopes: new Set(['orders:read']), acrValues: [], amr: [] },
    ...{ authenticatedAt: undefined, expiresAt: undefined },
  }
  let n = 0
  const one = async () => {
    const id = n++ % objects
    const subject = { kind: 'user', id: personOf(id), credential }
    const question = { api, action: 'orders:read', object: { type: 'order', id: String(id) }, context: {} }
    if (!(await decideAction(deps, subject, question)).allowed) throw new Error('it should have been allowed')
  }
  const during = async (ms: number) => {
    const until = performance.now() + ms
    const before = [n, process.cpuUsage()] as const
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        while (performance.now() < until) await one()
      }),
    )
    const { user, system } = process.cpuUsage(before[1])
    return { count: n - before[0], cpu: (user + system) / 1_000_000 }
  }
  await during(2_000)
  const rates: number[] = []
  for (let round = 0; round < 3; round++) {
    const { count, cpu } = await during(seconds * 1_000)
    rates.push(count / cpu)
  }
  return [
    {
      name: 'second-door.in-process',
      title: `decisions in process with scope, role and relation, ${atOnce} at once: each second of CPU`,
      value: median(rates),
      unit: '/s',
      goal: { atLeast: 5_000 },
      note: 'PostgreSQL beside it',
    },
  ]
}

async function furnish(database: Database): Promise<void> {
  const { prisma } = database
  const change = { now: new Date(), actor: { kind: 'cli' as const } }
  const own = await prisma.api.findFirstOrThrow({ where: { builtIn: true } })
  await createClient(
    prisma,
    { id: 'pdp', type: 'service', apis: { [own.identifier]: ['access:evaluate'] } },
    [{ value: secret }],
    change,
  )
  await updateApi(
    prisma,
    orders,
    {
      ...{ name: 'Orders', introspectionClients: ['orders-api'], scopes: { 'orders:read': 'See orders' } },
      objects: { order: { owner: ['orders:read'] } },
    },
    change,
  )
  await putRoute(
    prisma,
    { host: 'api.example.com', method: 'GET', path: '/orders/{id}' },
    { api: orders, scopes: ['orders:read'], position: 0 },
    change,
  )
  const write = Array.from({ length: objects }, (_, n) => `order:${n}#owner@user:${personOf(n)}`)
  await writeRelations(prisma, { write, delete: [] }, change)
}
