// Applications in the console: what each form does, and what it refuses.
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createClient, findClient } from '#src/clients/clients.ts'
import { verifyClientSecret } from '#src/clients/secrets.ts'
import { type ClientRecord, clientSettings } from '#src/clients/settings.ts'
import { type ConsoleHome, headingOf, startConsole } from '#test/support/console.ts'
import { change, orders, stock } from '#test/support/installation.ts'
import type { Page, Person } from '#test/support/person.ts'

const base = '/admin/applications'
let home: ConsoleHome
let person: Person

beforeAll(async () => {
  home = await startConsole()
  person = (await home.enter()).person
  const auditor = { permissions: ['clients:read', 'audit:read'] }
  auditorAccount = await home.appointWith('auditor@example.com', 'auditor', auditor)
  keeperAccount = await home.appointWith('keeper@example.com', 'keeper', {
    permissions: ['clients:read', 'clients:write'],
  })
})
afterAll(() => home.stop())
let auditorAccount: Awaited<ReturnType<ConsoleHome['appoint']>>
let keeperAccount: typeof auditorAccount

const db = () => home.server.database.prisma
const read = async (id: string): Promise<ClientRecord> => {
  const record = await findClient(db(), id)
  if (!record) throw new Error(`no client ${id}`)
  return record
}
const make = (id: string, input: Record<string, unknown> = {}, secrets: { value: string }[] = []) =>
  createClient(
    db(),
    { id, name: id, type: 'web', redirectUris: [`https://${id}.example/cb`], ...input } as never,
    secrets,
    change(),
  )

const secretIn = (page: Page) => /id="client-secret">([^<]+)</.exec(page.text)?.[1] ?? ''

/** Everything that a form shows as chosen, as a browser would send it. */
function filled(page: Page): Record<string, string[]> {
  const fields: Record<string, string[]> = {}
  const form = page.text.slice(page.text.indexOf('<form class="parts"'))
  const add = (name: string, value: string) => {
    fields[name] = [...(fields[name] ?? []), value]
  }
  for (const [tag] of form.matchAll(/<input[^>]*>/g)) {
    const name = / name="([^"]*)"/.exec(tag)?.[1]
    const value = / value="([^"]*)"/.exec(tag)?.[1] ?? ''
    if (!name || / type="hidden"/.test(tag) || (/ type="checkbox"/.test(tag) && !/ checked/.test(tag))) continue
    add(name, value)
  }
  for (const [, name = '', options = ''] of form.matchAll(/<select[^>]* name="([^"]*)"[^>]*>([\s\S]*?)<\/select>/g))
    add(name, /value="([^"]*)" selected/.exec(options)?.[1] ?? '')
  return fields
}

test('finds by a part of a name or id, by kind and by state, and pages', async () => {
  for (let index = 0; index < 30; index++) await make(`bulk-${String(index).padStart(2, '0')}`)
  const found = await person.open(`${base}?q=bulk&type=web&state=active`)
  expect([...found.text.matchAll(/href="\/admin\/applications\/bulk-\d\d"/g)]).toHaveLength(25)
  const next = /href="([^"]*after=[^"]*)"/.exec(found.text)?.[1]?.replaceAll('&amp;', '&') ?? ''
  const second = await person.open(next)
  expect([...second.text.matchAll(/href="\/admin\/applications\/bulk-\d\d"/g)]).toHaveLength(5)
  expect((await person.open(`${base}?q=REPORT&type=service`)).text).toContain('/admin/applications/reports"')
  expect((await person.open(`${base}?q=reports&type=spa`)).text).toContain('Nothing matches.')
  expect((await person.open(`${base}?q=%25`)).text).toContain('Nothing matches.')
})

test('an unknown id is a 404, on every page about one; so is a secret of another application', async () => {
  for (const part of ['', '/settings', '/secrets', '/disable', '/end-tokens', '/delete'])
    expect((await person.open(`${base}/nobody${part}`)).status, part).toBe(404)
  const [own] = (await read('reports')).secrets
  expect((await person.open(`${base}/shop-web/secrets/${own?.id}`)).status).toBe(404)
  expect((await person.open(`${base}/reports/secrets/${own?.id}`)).status).toBe(200)
  expect((await person.open(`${base}/shop-spa/secrets`)).status).toBe(404) // it can have none
})

test('shows who uses it and since when, also of what it got for itself, and its changes to those who may read the record', async () => {
  const unused = await person.open(`${base}/reports`)
  expect(unused.text).toContain('None lately')
  await home.post(
    '/oauth/token',
    { grant_type: 'client_credentials', scope: 'orders:read', resource: orders },
    { as: 'reports' },
  )
  await home.tokensFor()
  expect((await person.open(`${base}/reports`)).text).not.toContain('None lately')
  const used = await person.open(`${base}/shop-web`)
  expect(used.text).toMatch(/People who let it in<\/dt><dd>1/)
  expect(used.text).toMatch(/Access tokens<\/dt><dd>[1-9]/)
  expect(used.text).toContain('client.created')
  const { page } = await home.enter(`${base}/shop-web`, { as: keeperAccount })
  expect(page.text).toContain('shop-web')
  expect(page.text).not.toContain('client.created')
  // Long swept, it is still known.
  await db()
    .$executeRaw`INSERT INTO client_use (client_id, api_identifier, what, last_at) VALUES ('stock-api', '', 'client_credentials', now())`
  expect((await person.open(`${base}/stock-api`)).text).not.toContain('None lately')
})

test('an application may be called as the wizard is', async () => {
  await make('new', { name: 'Called new' })
  const list = await person.open(`${base}?q=Called`)
  const href = /<a href="([^"]*)"><bdi>Called new/.exec(list.text)?.[1] ?? ''
  expect(headingOf(await person.open(href))).toContain('Called new')
})

describe('settings', () => {
  test('saved as they are shown, nothing changes', async () => {
    const before = clientSettings(await read('shop-web'))
    const page = await person.open(`${base}/shop-web/settings`)
    const saved = await person.submit(page, filled(page))
    expect([saved.status, saved.url]).toEqual([200, `${home.server.url}${base}/shop-web?done=saved`])
    expect(clientSettings(await read('shop-web'))).toEqual(before)
  })

  test('each field does what it says', async () => {
    await make('fields', {}, [])
    const page = await person.open(`${base}/fields/settings`)
    await person.submit(page, {
      ...filled(page),
      name: 'New name',
      redirectUris: ['https://a.example/cb', '', ' http://localhost:3000/callback '],
      postLogoutRedirectUris: ['https://a.example/bye'],
      scopes: ['openid', 'email'],
      apis: [`${orders} orders:read`, `${orders} orders:write`, `${stock} stock:read`],
      exchange: 'yes',
      secondFactor: 'required',
      refreshTokenTtlSeconds: '3600',
      refreshTokenIdleTtlSeconds: '600',
      refreshLeewaySeconds: '0',
      idTokenSignedResponseAlg: 'EdDSA',
      clientUri: 'https://a.example/',
      policyUri: 'https://a.example/privacy',
      tosUri: 'https://a.example/terms',
    })
    expect(clientSettings(await read('fields'))).toMatchObject({
      name: 'New name',
      redirectUris: ['https://a.example/cb', 'http://localhost:3000/callback'],
      postLogoutRedirectUris: ['https://a.example/bye'],
      scopes: ['openid', 'email'],
      apis: { [orders]: ['orders:read', 'orders:write'], [stock]: ['stock:read'] },
      grantTypes: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:token-exchange'],
      secondFactor: 'required',
      refreshTokenTtlSeconds: 3600,
      refreshTokenIdleTtlSeconds: 600,
      refreshLeewaySeconds: 0,
      idTokenSignedResponseAlg: 'EdDSA',
      clientUri: 'https://a.example/',
    })
  })

  test('a scope that leaves takes along what was said about it; what is said about the others stays', async () => {
    await make('choosy', {
      scopes: ['openid', 'email', 'phone', 'profile'],
      apis: { [orders]: ['orders:read', 'orders:write'], [stock]: ['stock:read'] },
      defaultScopes: ['openid', 'email'],
      defaultApiScopes: { [orders]: ['orders:read'] },
      optionalScopes: ['email', 'profile'],
      optionalApiScopes: { [orders]: ['orders:write'], [stock]: ['stock:read'] },
    })
    const page = await person.open(`${base}/choosy/settings`)
    const before = clientSettings(await read('choosy'))
    await person.submit(page, filled(page))
    expect(clientSettings(await read('choosy'))).toEqual(before)
    const again = await person.open(`${base}/choosy/settings`)
    const saved = await person.submit(again, {
      ...filled(again),
      scopes: ['openid', 'phone', 'profile'],
      apis: [`${orders} orders:read`, `${orders} orders:write`],
    })
    expect(saved.url).toContain('done=saved')
    expect(clientSettings(await read('choosy'))).toMatchObject({
      defaultScopes: ['openid'],
      defaultApiScopes: { [orders]: ['orders:read'] },
      optionalScopes: ['profile'],
      optionalApiScopes: { [orders]: ['orders:write'] },
    })
  })

  test('a service is given roles', async () => {
    const page = await person.open(`${base}/reports/settings`)
    await person.submit(page, { ...filled(page), roles: ['auditor'] })
    expect((await read('reports')).roles).toEqual(['auditor'])
    const again = await person.open(`${base}/reports/settings`)
    expect(again.text).not.toContain('name="redirectUris"')
    await person.submit(again, { ...filled(again), roles: [] })
    expect((await read('reports')).roles).toEqual([])
  })

  test('what is refused is said, and what was typed stays', async () => {
    const before = clientSettings(await read('shop-web'))
    const page = await person.open(`${base}/shop-web/settings`)
    const refused = await person.submit(page, {
      ...filled(page),
      name: 'Kept on the page',
      redirectUris: ['http://evil.example/cb'],
      refreshTokenTtlSeconds: 'soon',
    })
    expect(refused.status).toBe(422)
    for (const text of [
      'Kept on the page',
      'http://evil.example/cb',
      'value="soon"',
      'is plain http',
      'must be a whole',
    ])
      expect(refused.text).toContain(text)
    expect(clientSettings(await read('shop-web'))).toEqual(before)
  })

  test('of two administrators at one form the second is told, and nothing is overwritten', async () => {
    await make('contested')
    const [first, second] = [
      await person.open(`${base}/contested/settings`),
      await person.open(`${base}/contested/settings`),
    ]
    await person.submit(first, { ...filled(first), name: 'First' })
    const told = await person.submit(second, { ...filled(second), name: 'Second' })
    expect(told.status).toBe(409)
    expect(told.text).toContain('somebody changed it')
    expect(told.text).toContain('value="Second"')
    expect((await read('contested')).name).toBe('First')
  })
})

describe('secrets', () => {
  test('a new one is shown once, and the one before ends when it was said', async () => {
    const old = 'old secret old secret 0123456789 abc'
    await make('rotating', { type: 'web' }, [{ value: old }])
    const page = await person.open(`${base}/rotating/secrets`)
    const shown = await person.submit(page, { overlap: '3600', decision: 'create' })
    const value = secretIn(shown)
    expect([shown.status, value.length]).toEqual([200, 43])
    expect(shown.headers.get('cache-control')).toBe('no-store')
    const record = await read('rotating')
    const inMinutes = (minutes: number) => new Date(Date.now() + minutes * 60_000)
    expect(verifyClientSecret(record, value, inMinutes(90))).toBe(true)
    expect(verifyClientSecret(record, old, inMinutes(50))).toBe(true)
    expect(verifyClientSecret(record, old, inMinutes(70))).toBe(false)
    expect((await person.open(`${base}/rotating/secrets`)).text).not.toContain(value)
    expect(home.server.logged.join('')).not.toContain(value)
    expect(record.secrets.map(({ hash }) => Buffer.from(hash).toString('hex'))).toContain(
      createHash('sha256').update(value).digest('hex'),
    )

    // Sent again, by Back or a slow connection: there is no third.
    const twice = await person.submit(page, { overlap: '0', decision: 'create' })
    expect([twice.status, secretIn(twice)]).toEqual([409, ''])
    expect((await read('rotating')).secrets).toHaveLength(2)
  })

  test('one is retired, the other stays', async () => {
    await make('two-secrets', {}, [
      { value: 'one 0123456789 0123456789 abcdefgh' },
      { value: 'two 0123456789 0123456789 abcdefgh' },
    ])
    const [first, second] = (await read('two-secrets')).secrets
    const page = await person.open(`${base}/two-secrets/secrets/${first?.id}`)
    expect((await person.submit(page, { decision: 'confirm' })).url).toContain('/two-secrets/secrets?done=removed')
    expect((await read('two-secrets')).secrets.map(({ id }) => id)).toEqual([second?.id])
  })

  test('a button that the page does not have does nothing', async () => {
    const page = await person.open(`${base}/two-secrets/secrets`)
    expect((await person.submit(page, { overlap: '0' })).status).toBe(400)
    expect((await person.submit(page, { overlap: '77', decision: 'create' })).status).toBe(400)
    expect((await read('two-secrets')).secrets).toHaveLength(1)
  })
})

describe('a new application', () => {
  test('begins with who the client is, and offers no device', async () => {
    const page = await person.open(`${base}/new`)
    for (const kind of ['web', 'spa', 'native', 'service']) expect(page.text).toContain(`href="${base}/new/${kind}"`)
    expect(page.text).toContain('not built yet')
    for (const kind of ['device', 'toString', 'x']) expect((await person.open(`${base}/new/${kind}`)).status).toBe(404)
  })

  test('a web application: what was chosen, a secret that works and is shown once, code with it', async () => {
    const page = await person.open(`${base}/new/web`)
    const shown = filled(page)
    expect(shown).toMatchObject({
      redirectUris: ['http://localhost:3000/callback', ''],
      scopes: ['openid', 'profile', 'email'],
    })
    const made = await person.submit(page, {
      ...shown,
      name: 'Café Orders (Zürich)',
      apis: [`${orders} orders:read`],
    })
    expect([made.status, headingOf(made)]).toEqual([200, 'Café Orders (Zürich) is ready'])
    const record = await read('cafe-orders-zurich')
    expect(clientSettings(record)).toMatchObject({
      type: 'web',
      redirectUris: ['http://localhost:3000/callback'],
      scopes: ['openid', 'profile', 'email'],
      apis: { [orders]: ['orders:read'] },
    })
    const value = secretIn(made)
    expect(verifyClientSecret(record, value, new Date())).toBe(true)
    for (const text of [home.server.url, `CLIENT_SECRET=&#39;${value}&#39;`, 'Python', 'Java', 'C++'])
      expect(made.text).toContain(text)
    const code = await person.open(`${base}/cafe-orders-zurich/code`)
    expect(code.text).not.toContain(value)
    expect(code.text).toContain('CLIENT_ID=&#39;cafe-orders-zurich&#39;')

    // Sent twice: the second finds the id taken.
    const twice = await person.submit(page, { ...shown, name: 'Café Orders (Zürich)' })
    expect([twice.status, secretIn(twice)]).toEqual([409, ''])
    expect((await read('cafe-orders-zurich')).secrets).toHaveLength(1)
  })

  test('a browser app has no secret, and its code is filled in; an address may hold what a string must not', async () => {
    const page = await person.open(`${base}/new/spa`)
    const redirect = "http://localhost:3000/it's"
    const made = await person.submit(page, { ...filled(page), name: 'Page', id: 'page-1', redirectUris: [redirect] })
    expect(made.status).toBe(200)
    expect(secretIn(made)).toBe('')
    expect((await read('page-1')).secrets).toEqual([])
    expect(made.text).toContain('const clientId = &#39;page-1&#39;')
    expect(made.text).toContain('const redirectUri = &#39;http://localhost:3000/it\\&#39;s&#39;')
  })

  test('a service gets a token with what it was shown', async () => {
    const page = await person.open(`${base}/new/service`)
    expect(page.text).not.toContain('name="redirectUris"')
    const made = await person.submit(page, { ...filled(page), name: 'Nightly', apis: [`${orders} orders:read`] })
    await home.server.settle()
    const { status, body } = await home.post(
      '/oauth/token',
      { grant_type: 'client_credentials', scope: 'orders:read', resource: orders },
      { as: null, headers: { Authorization: `Basic ${btoa(`nightly:${secretIn(made)}`)}` } },
    )
    expect([status, body.scope]).toEqual([200, 'orders:read'])
  })

  test('what is refused is said, and what was typed stays', async () => {
    const page = await person.open(`${base}/new/native`)
    const refused = await person.submit(page, {
      ...filled(page),
      name: 'Kept',
      id: 'no spaces please',
      redirectUris: ['ftp://x'],
      apis: [`${orders} orders:write`],
    })
    expect([refused.status, secretIn(refused)]).toEqual([422, ''])
    for (const text of [
      'value="Kept"',
      'value="no spaces please"',
      'value="ftp://x"',
      'orders:write" checked',
      'is not usable',
    ])
      expect(refused.text).toContain(text)
  })

  test('nobody makes an application that may do more than they may', async () => {
    const { person: keeper } = await home.enter(`${base}/new/service`, { as: keeperAccount })
    const page = await keeper.open(`${base}/new/service`)
    const asked = { ...filled(page), name: 'Too much', apis: [`${home.server.url}/api users:write`] }
    expect((await keeper.submit(page, asked)).status).toBe(403)
    expect(await findClient(db(), 'too-much')).toBeNull()
    const { person: auditor } = await home.enter(base, { as: auditorAccount })
    expect((await auditor.open(`${base}/new`)).status).toBe(403)
    expect((await auditor.open(`${base}/new/web`)).status).toBe(403)
  })
})

describe('what ends', () => {
  test('is counted, ends, and can be switched on again', async () => {
    const { access_token } = await home.tokensFor()
    const page = await person.open(`${base}/shop-web/disable`)
    expect(page.text).toMatch(/Access tokens<\/dt><dd>[1-9]/)
    expect((await home.post('/oauth/introspect', { token: access_token })).body.active).toBe(true)
    await person.submit(page, { decision: 'confirm' })
    await home.server.settle()
    expect((await read('shop-web')).disabledAt).not.toBeNull()
    const off = await person.open(`${base}/shop-web`)
    expect(off.text).toContain('Switched off')
    expect((await person.open(`${base}/shop-web/disable`)).text).toMatch(/Access tokens<\/dt><dd>0/)
    await person.submit(off, { decision: 'enable' })
    await home.server.settle()
    expect((await read('shop-web')).disabledAt).toBeNull()
    expect((await home.post('/oauth/introspect', { token: access_token })).body.active).toBe(false)
  })

  test('every token, while the application stays', async () => {
    const { access_token } = await home.tokensFor()
    await person.submit(await person.open(`${base}/shop-web/end-tokens`), { decision: 'confirm' })
    await home.server.settle()
    expect((await home.post('/oauth/introspect', { token: access_token })).body.active).toBe(false)
    expect((await home.tokensFor()).access_token).toBeTruthy()
  })

  test('an application is deleted after its dependents were shown', async () => {
    await make('doomed')
    await db().consent.create({ data: { userId: home.alice.id, clientId: 'doomed', scopes: ['openid'] } })
    const page = await person.open(`${base}/doomed/delete`)
    expect(page.text).toMatch(/People who let it in<\/dt><dd>1/)
    expect((await person.submit(page, {})).status).toBe(400)
    expect((await person.submit(page, { decision: 'confirm' })).url).toContain(`${base}?done=deleted`)
    expect(await findClient(db(), 'doomed')).toBeNull()
    expect(await db().consent.count({ where: { clientId: 'doomed' } })).toBe(0)
  })
})

describe('who may', () => {
  test('an auditor sees, and changes nothing', async () => {
    const { person: auditor, page } = await home.enter(`${base}/shop-web`, { as: auditorAccount })
    expect(page.status).toBe(200)
    expect(page.text).not.toContain('Switch off')
    expect(page.text).not.toContain('/settings"')
    for (const part of ['/disable', '/end-tokens', '/delete'])
      expect((await auditor.open(`${base}/shop-web${part}`)).status, part).toBe(403)
    const secrets = await auditor.open(`${base}/shop-web/secrets`)
    expect(secrets.status).toBe(200)
    const before = await read('shop-web')
    const csrf = /name="csrf" value="([^"]*)"/.exec((await auditor.open(`${base}/shop-web/settings`)).text)?.[1] ?? ''
    expect(csrf).not.toBe('')
    for (const [part, fields] of [
      ['/settings', { name: 'Mine' }],
      ['/secrets', { decision: 'create', overlap: '0' }],
      ['', { decision: 'enable' }],
      ['/disable', { decision: 'confirm' }],
      ['/delete', { decision: 'confirm' }],
    ] as const)
      expect(
        (
          await auditor.open(`${base}/shop-web${part}`, {
            method: 'POST',
            body: new URLSearchParams({ csrf, ...fields }),
            headers: { Origin: home.server.url },
          })
        ).status,
        part,
      ).toBe(403)
    expect(await read('shop-web')).toEqual(before)
  })

  test('nobody hands out what they lack, nor touches an application that has it', async () => {
    const { person: keeper } = await home.enter(base, { as: keeperAccount })
    const api = `${home.server.url}/api`
    await make('mighty', { type: 'service', redirectUris: [], apis: { [api]: ['users:write'] } }, [
      { value: 'mighty 0123456789 0123456789 abcdefgh' },
    ])
    await make('meek', { type: 'service', redirectUris: [] })
    const page = await keeper.open(`${base}/meek/settings`)
    expect(page.text).toMatch(/value="[^"]* users:write" disabled/)
    expect((await keeper.submit(page, { ...filled(page), apis: [`${api} users:write`] })).status).toBe(403)
    expect((await keeper.submit(page, { ...filled(page), roles: ['owner'] })).status).toBe(403)
    expect(clientSettings(await read('meek'))).toMatchObject({ apis: {}, roles: [] })
    const allowed = await keeper.submit(page, { ...filled(page), apis: [`${api} clients:read`] })
    expect(allowed.url).toContain('done=saved')
    const secrets = await keeper.open(`${base}/mighty/secrets`)
    expect((await keeper.submit(secrets, { decision: 'create', overlap: '0' })).status).toBe(403)
    expect((await read('mighty')).secrets).toHaveLength(1)
  })

  test('a sign-in of six minutes ago is asked again before anything changes', async () => {
    const { person: late } = await home.enter(`${base}/shop-spa/settings`)
    const page = await late.open(`${base}/shop-spa/settings`)
    await home.age(home.owner.id, 360)
    const asked = await late.submit(page, { ...filled(page), name: 'Late' })
    expect(headingOf(asked)).toBe('Please sign in again')
    expect((await read('shop-spa')).name).toBe('shop-spa')
  })
})
