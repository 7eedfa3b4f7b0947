// "Try it": the real flow of an application, its steps shown, and nothing left of it afterwards.
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createClient, findClient, setClientDisabled } from '#src/clients/clients.ts'
import { clientSettings } from '#src/clients/settings.ts'
import { countRevocation } from '#src/tokens/dry-run.ts'
import { type ConsoleHome, startConsole, tokenOf } from '#test/support/console.ts'
import { change, orders, stock } from '#test/support/installation.ts'
import type { Page, Person } from '#test/support/person.ts'

const base = '/admin/applications'
let home: ConsoleHome
let person: Person

beforeAll(async () => {
  home = await startConsole()
  person = (await home.enter()).person
})
afterAll(() => home.stop())

const db = () => home.server.database.prisma
const settingsOf = async (id: string) => {
  const record = await findClient(db(), id)
  if (!record) throw new Error(`no client ${id}`)
  return { ...clientSettings(record), secrets: record.secrets.map((secret) => secret.id) }
}
const plain = (text: string) => text.replaceAll('&quot;', '"').replaceAll('&amp;', '&').replaceAll('&#39;', "'")

async function begin(id: string, fields: Record<string, string> = {}, who = person): Promise<Page> {
  const page = await who.open(`${base}/${id}/try`)
  const begun = await who.submit(page, { api: '', decision: 'begin', ...fields })
  await home.server.settle()
  return begun
}
const nextOf = (page: Page) => plain(/href="([^"]*\/oauth\/authorize[^"]*)"/.exec(page.text)?.[1] ?? '')

/** Signs in where asked, and agrees. */
const goOn = (page: Page, who = person) => home.walk(who, nextOf(page).replace(home.server.url, ''))

/** Titles of the steps, with whether each went well. */
const stepsOf = (page: Page) =>
  [...page.text.matchAll(/<li class="panel">\s*<h2>([^<]*?) <span class="badge badge-(good|bad)">/g)].map(
    ([, title, how]) => `${how === 'good' ? 'ok' : 'failed'} ${title}`,
  )

test.each([
  ['shop-web', ['ok Introspection']],
  ['shop-spa', []],
])('%s: a person signs in, every step is shown, and nothing is left', async (id, more) => {
  const before = await settingsOf(id)
  const begun = await begin(id)
  expect(begun.text).toContain('code_challenge')
  const lent = await settingsOf(id)
  expect(lent.redirectUris).toEqual([...before.redirectUris, `${home.server.url}${base}/${id}/try/callback`])
  expect(lent.secrets).toHaveLength(before.secrets.length + more.length)

  const done = await goOn(begun)
  expect(done.status).toBe(200)
  expect(stepsOf(done)).toEqual([
    'ok Redirect back',
    'ok Token request',
    'ok Keys of the issuer',
    'ok ID token: claims and signature',
    'ok Who it is',
    ...more,
    'ok Revocation', // of the refresh token, then of the access token
    'ok Revocation',
    'ok What was lent is taken back',
  ])
  const text = plain(done.text)
  expect(text).toContain(`"aud": "${id}"`)
  expect(text).toContain(`"sub": "${home.owner.id}"`)
  expect(text).toMatch(/kid [\w-]+, ES256/)
  expect(await settingsOf(id)).toEqual(before)

  // Of every token: that it is over, and that no part of the page or the log would open anything.
  const tokens = await db().token.findMany({ where: { clientId: id, kind: { in: [1, 2] } } })
  expect(tokens.length).toBeGreaterThan(0)
  expect(await countRevocation(db(), { kind: 'client', id })).toMatchObject({
    accessTokens: 0,
    refreshTokens: 0,
    grants: 0,
  })
  const printed = home.server.logged.join('') + done.text
  for (const word of printed.match(/[\w-]{20,}/g) ?? [])
    expect(tokens.some((row) => Buffer.from(row.id).equals(createHash('sha256').update(word).digest()))).toBe(false)
  expect(text).not.toMatch(/eyJ[\w-]{20,}/)

  // Loaded again, it is over.
  expect((await person.open(done.url)).text).toContain('No trial is under way')
})

test('for an API: its access token is a JWT that is verified, and is no key to who it is', async () => {
  const done = await goOn(await begin('shop-web', { api: orders }))
  expect(stepsOf(done)).toContain('ok Access token: claims and signature')
  expect(stepsOf(done)).not.toContain('ok Who it is')
  expect(plain(done.text)).toContain(`"aud": "${orders}"`)
  expect(stepsOf(done).filter((step) => step.startsWith('failed'))).toEqual([])
})

test.each([
  ['a JWT', orders, ['ok Access token: claims and signature']],
  ['an opaque token', stock, []],
])('a service goes the whole way at once, with %s', async (_what, api, more) => {
  const before = await settingsOf('reports')
  const page = await person.open(`${base}/reports/try`)
  const done = await person.submit(page, { api, decision: 'begin' })
  expect(stepsOf(done)).toEqual([
    'ok Token request',
    'ok Keys of the issuer',
    ...more,
    'ok Introspection',
    'ok Revocation',
    'ok What was lent is taken back',
  ])
  expect(await settingsOf('reports')).toEqual(before)
})

test('who says no sees which step failed and what would mend it, and nothing is left', async () => {
  const before = await settingsOf('shop-spa')
  const begun = await begin('shop-spa')
  const callback = `${base}/shop-spa/try/callback`
  const state = /state=([\w-]+)/.exec(nextOf(begun))?.[1] ?? ''
  const refused = await person.open(`${callback}?error=access_denied&error_description=no&state=${state}`)
  expect(stepsOf(refused)).toEqual(['failed Redirect back', 'ok What was lent is taken back'])
  expect(refused.text).toContain('said no')
  expect(await settingsOf('shop-spa')).toEqual(before)
})

test('a code that was not asked for here is not redeemed: another state, another browser, another application', async () => {
  const begun = await begin('shop-spa')
  const state = /state=([\w-]+)/.exec(nextOf(begun))?.[1] ?? ''
  const callback = `${base}/shop-spa/try/callback`
  expect((await person.open(`${callback}?code=x&state=other`)).status).toBe(400)
  const { person: other } = await home.enter()
  const cookie = person.cookies.get('sallyport_trial')
  expect(cookie).toBeDefined()
  if (cookie) other.cookies.set('sallyport_trial', cookie)
  expect((await other.open(`${callback}?code=x&state=${state}`)).text).toContain('No trial is under way')
  expect((await person.open(`${base}/shop-web/try/callback?code=x&state=${state}`)).text).toContain('No trial is under')
})

test('a trial that nobody finished is said, and its address can be removed', async () => {
  const before = await settingsOf('shop-web')
  await begin('shop-web')
  const page = await person.open(`${base}/shop-web/try`)
  expect(page.text).toContain('was not finished')
  expect((await person.submit(page, { decision: 'clear', csrf: tokenOf(page) })).url).toContain('/try?done=removed')
  expect((await settingsOf('shop-web')).redirectUris).toEqual(before.redirectUris)
  const [lent] = await db().clientSecret.findMany({ where: { clientId: 'shop-web', expiresAt: { not: null } } })
  expect(Number(lent?.expiresAt) - Date.now()).toBeLessThan(600_000)
})

test('what is switched off, or a device, cannot be tried; an API that it may not call is refused', async () => {
  await createClient(db(), { id: 'box', type: 'device' }, [], change())
  await createClient(db(), { id: 'idle', type: 'spa', redirectUris: ['https://idle.example/cb'] }, [], change())
  await setClientDisabled(db(), 'idle', true, change())
  for (const id of ['box', 'idle']) {
    const page = await person.open(`${base}/${id}/try`)
    expect(page.text).toContain('cannot be tried')
    const sent = await person.open(`${base}/${id}/try`, {
      method: 'POST',
      body: new URLSearchParams({ csrf: tokenOf(await person.open(`${base}/new/web`)), decision: 'begin' }),
      headers: { Origin: home.server.url },
    })
    expect(sent.status).toBe(400)
  }
  const page = await person.open(`${base}/shop-spa/try`)
  expect((await person.submit(page, { decision: 'begin', api: stock })).status).toBe(400)
})

test('it is for those who may change applications, and not for one that may do more than they', async () => {
  const reader = await home.appointWith('reader@example.com', 'reader', { permissions: ['clients:read'] })
  const keeper = await home.appointWith('keeper@example.com', 'keeper', {
    permissions: ['clients:read', 'clients:write'],
  })
  const api = `${home.server.url}/api`
  await createClient(db(), { id: 'mighty', type: 'service', apis: { [api]: ['users:write'] } }, [], change())
  const { person: weak } = await home.enter(base, { as: reader })
  expect((await weak.open(`${base}/shop-web/try`)).status).toBe(403)
  const { person: some } = await home.enter(base, { as: keeper })
  const page = await some.open(`${base}/mighty/try`)
  expect((await some.submit(page, { decision: 'begin', api })).status).toBe(403)
  expect((await settingsOf('mighty')).secrets).toEqual([])
})
