// A guard that follows the feed of revocations, and a feed that goes away. The real feed: test/examples/revocations.test.ts
import { afterAll, beforeEach, expect, it } from 'vitest'
import { createGuard, type GuardOptions } from '#src/guard/guard.ts'
import { audience, epoch, outcome, requestWith, startIssuer } from './issuer.ts'

const issuer = await startIssuer()
const guards: ReturnType<typeof createGuard>[] = []
const path = '/api/v1/revocations'
let entries: { kind: string; target: string; issuedBefore: number }[]
let away: boolean
beforeEach(() => {
  entries = []
  away = false
  issuer.asked.length = 0
  issuer.answers.set(path, ({ headers }) =>
    away || headers['x-api-key'] !== 'key'
      ? { status: 500 }
      : { body: { data: entries, next: String(entries.length) } },
  )
})
afterAll(async () => {
  for (const guard of guards) guard.close()
  await issuer.stop()
})

function follow(options: Partial<NonNullable<GuardOptions['revocations']>> = {}) {
  const revocations = { apiKey: 'key', ...options }
  const guard = createGuard({ issuer: issuer.url, audience, revocations, onTrouble: () => undefined })
  guards.push(guard)
  return async (token: string) => {
    const request = requestWith({ authorization: `Bearer ${token}` })
    return (await outcome(guard.authenticate(request))).status
  }
}

it('refuses what was revoked before the first request, and what is revoked later', async () => {
  entries = [{ kind: 'token', target: 'gone', issuedBefore: epoch() + 1 }]
  const call = follow()
  const later = await issuer.sign({ jti: 'later' })
  expect(await call(await issuer.sign({ jti: 'gone' }))).toBe(401)
  expect(await call(later)).toBe(200)
  entries = [...entries, { kind: 'token', target: 'later', issuedBefore: epoch() + 1 }]
  await expect.poll(() => call(later), { timeout: 5_000 }).toBe(401)
})

it('503 while the feed is out of reach, and 200 again afterwards', async () => {
  const call = follow({ patienceSeconds: 1.5 })
  const token = await issuer.sign()
  expect(await call(token)).toBe(200)
  away = true
  await expect.poll(() => call(token), { timeout: 5_000 }).toBe(503)
  away = false
  await expect.poll(() => call(token), { timeout: 5_000 }).toBe(200)
})

it('503 from the first request on, when the feed was never read', async () => {
  away = true
  const call = follow({ goOnBlind: true })
  const token = await issuer.sign()
  expect(await call(token)).toBe(503)
  away = false
  await expect.poll(() => call(token), { timeout: 5_000 }).toBe(200)
})

it('goes on with what it knows where it was told to', async () => {
  entries = [{ kind: 'token', target: 'gone', issuedBefore: epoch() + 1 }]
  const call = follow({ patienceSeconds: 0.1, goOnBlind: true })
  expect(await call(await issuer.sign())).toBe(200)
  away = true
  const before = issuer.countOf(path)
  await expect.poll(() => issuer.countOf(path), { timeout: 5_000 }).toBeGreaterThan(before)
  expect(await call(await issuer.sign())).toBe(200)
  expect(await call(await issuer.sign({ jti: 'gone' }))).toBe(401)
})
