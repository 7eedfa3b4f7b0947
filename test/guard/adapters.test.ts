// What is particular to one adapter: bodies, certificates, what a handler throws, and what is left when a part is forgotten.
import { createHash } from 'node:crypto'
import express from 'express'
import { Hono } from 'hono'
import Koa from 'koa'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { expressGuard } from '#src/guard/express.ts'
import { fromFetch, honoGuard, protect as protectFetch } from '#src/guard/fetch.ts'
import { type Caller, createGuard } from '#src/guard/guard.ts'
import { koaGuard } from '#src/guard/koa.ts'
import { protect } from '#src/guard/node.ts'
import { type Api, ask, startApi } from './apps.ts'
import { audience, outcome, startIssuer } from './issuer.ts'

const issuer = await startIssuer()
const guard = createGuard({ issuer: issuer.url, audience })
const certificate = Buffer.from('a certificate')
const x5t = createHash('sha256').update(certificate).digest('base64url')
let good: (readonly [string, string])[]
let bound: (readonly [string, string])[]
const running: Api[] = []
const start = async (listener: Parameters<typeof startApi>[0]) => {
  const api = await startApi(listener)
  running.push(api)
  return api.url
}
beforeAll(async () => {
  good = [['authorization', `Bearer ${await issuer.sign()}`]]
  bound = [['authorization', `Bearer ${await issuer.sign({ cnf: { 'x5t#S256': x5t } })}`]]
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((api) => api.stop()))
})
afterAll(() => issuer.stop())

it('a token in a form is refused where the application has read the form (RFC 6750 2.2), and only in a form', async () => {
  const app = express()
  const doors = expressGuard(guard)
  app.use(express.urlencoded({ extended: false }), express.json(), doors.authenticate)
  app.post('/', (_request, response) => {
    response.json({})
  })
  app.use(doors.refusals)
  const koa = new Koa()
  koa.use(async (ctx, next) => {
    // What a body parser leaves there.
    ;(ctx.request as { body?: unknown }).body = { access_token: 'a' }
    await next()
  })
  koa.use(koaGuard(guard).authenticate)
  koa.use((ctx) => {
    ctx.body = {}
  })
  const form = { method: 'POST', body: 'access_token=a' }
  const type = (name: string) => ['content-type', name] as const
  for (const url of [await start(app), await start(koa.callback())]) {
    for (const headers of [[], good])
      expect(
        await ask(url, { ...form, headers: [...headers, type('application/x-www-form-urlencoded')] }),
      ).toMatchObject({
        status: 400,
        body: { error: 'invalid_request' },
      })
    const json = { method: 'POST', body: '{"access_token":"a"}', headers: [...good, type('application/json')] }
    expect(await ask(url, json)).toMatchObject({ status: 200 })
  }
})

it('every adapter hands on the certificate that the application knows', async () => {
  const knows = { certificate: () => certificate }
  const app = express()
  app.use(expressGuard(guard, knows).authenticate)
  app.use((_request, response) => {
    response.json({})
  })
  const koa = new Koa()
  koa.use(koaGuard(guard, knows).authenticate)
  koa.use((ctx) => {
    ctx.body = {}
  })
  const plain = protect(guard, (_request, response) => void response.end(), knows)
  for (const listener of [app, koa.callback(), plain])
    expect(await ask(await start(listener), { headers: bound })).toMatchObject({ status: 200 })
  const request = new Request('https://api.example.com/', { headers: Object.fromEntries(bound) })
  expect((await protectFetch(guard, () => new Response(), knows)(request)).status).toBe(200)
  expect((await protectFetch(guard, () => new Response())(request)).status).toBe(401)
  expect(fromFetch(request, knows).certificate).toBe(certificate)
})

it('node:http: what else a handler throws is a 500 that tells nothing, and is reported; the process goes on', async () => {
  const reported: unknown[] = []
  const url = await start(
    protect(
      guard,
      () => {
        throw new Error('the secret of the house')
      },
      { onError: (error) => reported.push(error) },
    ),
  )
  expect(await ask(url, { headers: good })).toMatchObject({ status: 500, body: { error: 'server_error' } })
  expect(reported).toMatchObject([{ message: 'the secret of the house' }])
  expect(await ask(`${url}//`, {})).toMatchObject({ status: 401 })
})

it('Koa and Hono: errors of handlers stay what they are', async () => {
  const koa = new Koa()
  koa.silent = true
  koa.use(koaGuard(guard).authenticate)
  koa.use((ctx) => ctx.throw(418))
  expect(await ask(await start(koa.callback()), { headers: good })).toMatchObject({ status: 418 })
  const hono = new Hono<{ Variables: { caller: Caller } }>()
  hono.use(honoGuard(guard).authenticate)
  hono.onError((error, c) => c.text(error.message, 418))
  hono.get('/', () => {
    throw new Error('teapot')
  })
  expect((await hono.request('/', { headers: Object.fromEntries(good) })).status).toBe(418)
})

it('Express: without `refusals` the answer is still the right one', async () => {
  const app = express()
  app.set('env', 'test')
  app.use(expressGuard(guard).authenticate)
  expect(await ask(await start(app))).toMatchObject({ status: 401, challenge: 'Bearer' })
})

it('a forgotten `authenticate` is a 401 in every framework, never a 403 and never a yes', async () => {
  const needs = { scopes: ['orders:delete'] }
  const app = express()
  app.use(expressGuard(guard).authorize(needs), expressGuard(guard).refusals)
  const koa = new Koa()
  koa.silent = true
  koa.use(koaGuard(guard).authorize(needs))
  for (const listener of [app, koa.callback()])
    expect(await ask(await start(listener), { headers: good })).toMatchObject({ status: 401 })
  const hono = new Hono<{ Variables: { caller: Caller } }>()
  hono.use(honoGuard(guard).authorize(needs))
  hono.get('/', (c) => c.text('yes'))
  expect((await hono.request('/', { headers: Object.fromEntries(good) })).status).toBe(401)
})

it('two credentials that a runtime has joined into one header are two', async () => {
  const [[, value]] = good as [readonly [string, string]]
  for (const joined of [`${value}, ${value}`, `Negotiate abc, ${value}`]) {
    const request = fromFetch(new Request('https://api.example.com/', { headers: { authorization: joined } }))
    expect(await outcome(guard.authenticate(request))).toMatchObject({ status: 400 })
  }
})

it('a name in the query that the API says is its own is not a credential, and every other still is', async () => {
  const own = createGuard({ issuer: issuer.url, audience, ownParameters: ['Token'] })
  const call = (query: string, by = own) =>
    outcome(
      by.authenticate(
        fromFetch(new Request(`https://api.example.com/?${query}`, { headers: Object.fromEntries(good) })),
      ),
    )
  expect(await call('token=1')).toMatchObject({ status: 200 })
  expect(await call('token=1', guard)).toMatchObject({ status: 400 })
  expect(await call('token=1&access_token=2')).toMatchObject({ status: 400 })
})
