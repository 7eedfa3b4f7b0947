// A process is started again, or another one answers, and its clock is wrong: what was over stays over (CVE-2026-9802).
import { get as ask } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { revoke } from '#src/tokens/revoke.ts'
import { change } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
})
afterAll(() => server.stop())

const day = 86_400_000

/** fetch would name the port it connects to. */
const locationOf = (url: URL, headers: Record<string, string>): Promise<string> =>
  new Promise((resolve, reject) => {
    ask(url, { headers }, (response) => {
      response.resume()
      resolve(response.headers.location ?? '')
    }).on('error', reject)
  })

test.each([
  ['an hour behind', -day / 24],
  ['a day behind', -day],
  ['right', 0],
  ['ten minutes ahead', day / 144],
])('refresh tokens, a session and a sign-in that were over, in a process whose clock is %s', async (_what, shift) => {
  const rotated = await j.tokensFor({ scope: 'openid offline_access', prompt: 'consent' })
  const { body: successor } = await j.refresh(rotated.refresh)
  await j.refresh(successor.refresh_token ?? '') // beyond the leeway: the first two are of the past
  const revoked = await j.tokensFor({ scope: 'openid offline_access', prompt: 'consent' })
  await j.revoke(revoked.refresh)
  const ended = await j.tokensFor({ scope: 'openid' })
  const row = await server.database.prisma.session.findFirstOrThrow({ orderBy: { createdAt: 'desc' } })
  await revoke(server.database.prisma, { kind: 'session', uid: row.uid }, change())
  const finished = await j.codeFor({ scope: 'openid' })
  await j.redeem(finished.code, finished.verifier)

  const started = await startServer({ share: server, now: () => new Date(Date.now() + shift) })
  try {
    const origin = `http://localhost:${started.port}`
    for (const [what, token] of [
      ['rotated', rotated.refresh],
      ['revoked', revoked.refresh],
      ['of an ended session', ended.refresh],
    ] as const)
      expect([what, (await j.refresh(token, {}, { origin })).body.error]).toEqual([what, 'invalid_grant'])
    expect((await j.redeem(finished.code, finished.verifier, {}, { origin })).body.error).toBe('invalid_grant')
    for (const token of [revoked.access_token, ended.access_token])
      expect((await j.post('/oauth/introspect', { token }, { origin })).body).toEqual({ active: false })
    // The cookie of the ended session, at the new process under the issuer's name.
    const { address } = await j.begin({ prompt: 'none', scope: 'openid' })
    const host = new URL(server.url).host
    const cookie = [...ended.person.cookies].map(([key, { value }]) => `${key.split(' ')[0]}=${value}`).join('; ')
    expect(await locationOf(new URL(address, origin), { Host: host, Cookie: cookie })).toContain('error=login_required')
  } finally {
    await started.stop()
  }
})
