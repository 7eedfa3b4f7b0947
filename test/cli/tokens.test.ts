// sallyport tokens: what an operator sees of a token, and ends.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { findApiKey } from '#src/access/api-keys/reads.ts'
import { rowIdOfValue, rowIdText } from '#src/tokens/row-ids.ts'
import { change, orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
})
afterAll(() => server.stop())

async function sallyport(args: string[], input = '') {
  const child = spawn(process.execPath, ['src/sallyport.mjs', 'tokens', ...args], {
    env: { PATH: process.env.PATH, DATABASE_URL: server.databaseUrl, LOG_LEVEL: 'error' },
  })
  child.stdin.end(input)
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { code, out, err }
}
const json = async (args: string[], input?: string) => {
  const { code, out, err } = await sallyport([...args, '--json'], input)
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out)
}
const idOf = (value: string) => rowIdText(rowIdOfValue(value))

describe('show', () => {
  test('draws the family: a line each, generations beside each other, times, and why each is over', async () => {
    const { access_token, refresh } = await j.tokensFor(
      { scope: 'openid offline_access orders:read', prompt: 'consent', resource: orders },
      undefined,
      { resource: orders },
    )
    const second = (await j.refresh(refresh, { resource: orders })).body
    const third = (await j.refresh(second.refresh_token ?? '', { resource: orders })).body
    await sallyport(['revoke', '--token', '-'], `${second.access_token}\n`)
    const { code, out, err } = await sallyport(['show', '-'], `${refresh}\n`)
    expect([code, err]).toEqual([0, ''])
    const shape = out
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/ {2,}[\w-]{20,} {2,}/, ' | ').replace(/ {2,}\d{4}-.*/, ''))
    expect(shape).toEqual([
      expect.stringMatching(/^WHAT +ID +STATE +ISSUED +EXPIRES +ABOUT$/),
      expect.stringMatching(/^session \| live/),
      '└ grant | live',
      '  └ code | used',
      '    ├ access token (jwt) | live',
      '    ├ refresh token 1 | used',
      '    │ └ access token (jwt) | revoked',
      '    ├ refresh token 2 | used',
      '    │ └ access token (jwt) | live',
      '    └ refresh token 3 | live',
    ])
    expect(out).toMatch(/refresh token 1 .* used \d{4}-\d\d-\d\d \d\d:\d\d:\d\d/)
    expect(out.split('\n').find((line) => line.includes('<- asked about'))).toContain(idOf(refresh))
    for (const value of [access_token, refresh, second.refresh_token ?? '', third.access_token])
      expect(out).not.toContain(value)
  })

  test('takes a value, an id, or standard input, and says as JSON what the API says', async () => {
    const { access_token } = await j.tokensFor()
    const family = await json(['show', access_token])
    expect(family).toMatchObject({
      asked: idOf(access_token),
      session: { state: 'live' },
      grant: { clientId: 'shop-web' },
    })
    expect(await json(['show', idOf(access_token)])).toEqual(family)
    expect(await json(['show', '-'], access_token)).toEqual(family)
  })

  test('an id that begins with a hyphen is no option, wherever it stands', async () => {
    const { access_token } = await j.tokensFor()
    const family = await json(['show', access_token])
    const id = new Uint8Array(rowIdOfValue(access_token))
    const hyphen = Uint8Array.of(0xf9, ...randomBytes(31)) // base64url: -a, -b ... whatever the rest is
    await server.database.prisma.token.update({ where: { id }, data: { id: hyphen } })
    const asked = rowIdText(hyphen)
    expect(asked).toMatch(/^-/)
    expect(await json(['show', asked])).toMatchObject({ asked, grant: { id: family.grant.id } })
    expect(JSON.parse((await sallyport(['--json', 'show', asked])).out)).toMatchObject({ asked })
    expect(await sallyport(['revoke', '--token', asked])).toMatchObject({ code: 0 })
    expect(await sallyport(['show', `-${'x'.repeat(41)}`])).toMatchObject({ code: 2 }) // no id: too short
  })

  test('draws a service token without a tree', async () => {
    const { body } = await j.post(
      '/oauth/token',
      { grant_type: 'client_credentials', scope: 'stock:read' },
      { as: 'reports' },
    )
    const { out } = await sallyport(['show', body.access_token])
    expect(out.split('\n')[1]).toMatch(
      /^access token \(opaque\) +[\w-]{43} +live +.* <- asked about, reports, for https:.*, stock:read$/,
    )
  })

  test('an unknown token is refused with one sentence that does not repeat it', async () => {
    expect(await sallyport(['show', 'sp_at_somebody-elses'])).toEqual({
      code: 1,
      out: '',
      err: 'token is not one that was issued here, or its row has left since it expired. Send its whole value, or the id of its row.\n',
    })
    expect((await sallyport(['show', '-'])).code).toBe(1)
    expect((await sallyport(['show'])).code).toBe(2)
  })
})

describe('revoke', () => {
  const tokenOf = async () => (await j.tokensFor()).access_token
  const rowOf = async (value: string) =>
    server.database.prisma.token.findUniqueOrThrow({ where: { id: new Uint8Array(rowIdOfValue(value)) } })

  test('dry run, confirm, count to zero', async () => {
    const value = await tokenOf()
    const { grantId } = await rowOf(value)
    const dry = await sallyport(['revoke', '--grant', grantId ?? '', '--dry-run'])
    expect(dry.out).toMatch(
      /^Dry run, nothing was changed\. Would end the grant .* and its tokens:\n +1 access tokens\n +1 refresh tokens\n +0 codes\n +1 grants\n +0 sessions\n +0 API keys\n$/,
    )
    expect((await j.userinfo(value)).status).toBe(200)
    expect(await json(['revoke', '--grant', grantId ?? ''])).toEqual({ grant: grantId, revoked: true })
    expect((await j.userinfo(value)).status).toBe(401)
    expect(await json(['revoke', '--grant', grantId ?? '', '--dry-run'])).toMatchObject({
      dryRun: true,
      counts: { accessTokens: 0, refreshTokens: 0, codes: 0, grants: 0, sessions: 0, apiKeys: 0, more: false },
    })
  })

  test('an API key is counted with the tokens of its owner, and ends with them', async () => {
    const { prisma } = server.database
    const input = { name: 'k', owner: { clientId: 'reports' }, apis: { [orders]: ['orders:read'] } }
    const { value } = await createApiKey(prisma, input, change())
    expect((await sallyport(['revoke', '--client', 'reports', '--dry-run'])).out).toMatch(
      /^Dry run, nothing was changed\. Would end every token and API key of reports:\n(.*\n)* +1 API keys\n$/,
    )
    await json(['revoke', '--client', 'reports'])
    expect(await findApiKey(server.database, value, new Date())).toBeUndefined()
    expect((await json(['revoke', '--client', 'reports', '--dry-run'])).counts.apiKeys).toBe(0)
  })

  test.each<[string, (value: string) => Promise<string>]>([
    ['--token', async (value) => idOf(value)],
    [
      '--session',
      async (value) =>
        (await server.database.prisma.grant.findUniqueOrThrow({ where: { id: (await rowOf(value)).grantId ?? '' } }))
          .sessionUid ?? '',
    ],
    ['--consent', async () => 'alice@example.com,shop-web'],
    ['--user', async () => 'alice@example.com'],
    ['--client', async () => 'shop-web'],
  ])('%s', async (option, nameOf) => {
    const value = await tokenOf()
    const { code, out, err } = await sallyport(['revoke', option, await nameOf(value)])
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(/^Ended .*\.\n$/)
    expect((await j.userinfo(value)).status).toBe(401)
  })

  test('--api', async () => {
    const { body } = await j.post(
      '/oauth/token',
      { grant_type: 'client_credentials', scope: 'orders:read' },
      { as: 'reports' },
    )
    expect(await json(['revoke', '--api', orders])).toEqual({ api: orders, revoked: true })
    expect((await j.introspect(body.access_token, 'orders-api')).body.active).toBe(false)
  })

  test('--before, with the offset that says which hour is meant', async () => {
    const value = await tokenOf()
    expect(await json(['revoke', '--before', '2026-01-01T01:00:00+01:00'])).toEqual({
      before: '2026-01-01T00:00:00.000Z',
      revoked: true,
    })
    expect((await j.userinfo(value)).status).toBe(200)
    await new Promise((resolve) => setTimeout(resolve, 1_001 - (Date.now() % 1_000)))
    expect((await json(['revoke', '--before', 'now', '--dry-run'])).counts.accessTokens).toBeGreaterThanOrEqual(1)
    await json(['revoke', '--before', 'now'])
    expect((await j.userinfo(value)).status).toBe(401)
    expect(await sallyport(['revoke', '--before', '2999-01-01T00:00:00Z'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('is in the future'),
    })
  })

  test.each([
    [[]],
    [['--dry-run']],
    [['--grant', 'x', '--user', 'y']],
    [['--before', 'yesterday']],
    [['--before', '2026-01-01T00:00:00']],
    [['--consent', 'alice@example.com']],
  ])('wrong usage: %j', async (args) => {
    expect(await sallyport(['revoke', ...args])).toMatchObject({ code: 2, out: '' })
  })

  test.each([['--token'], ['--grant'], ['--session'], ['--user'], ['--client'], ['--api']])(
    '%s of nobody',
    async (option) => {
      expect(await sallyport(['revoke', option, 'nobody', '--dry-run'])).toMatchObject({ code: 1, out: '' })
    },
  )
})
