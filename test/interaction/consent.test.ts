// The consent screen over real HTTP: who wants what from whom, and that only what was ticked is handed over.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { setUserDisabled } from '#src/users/users.ts'
import { consentScopes, type Hosted, pendingInteraction, startHosted } from '#test/pages/hosted.ts'
import { createPerson, person } from '#test/pages/screens.ts'
import { clearAudit } from '#test/support/audit.ts'
import { Person } from '#test/support/person.ts'

const orders = 'https://api.example.com/orders'
let hosted: Hosted
let userId: string
let browser: Person
beforeAll(async () => {
  hosted = await startHosted()
  userId = await createPerson(hosted)
})
afterAll(() => hosted.stop())
beforeEach(async () => {
  hosted.pending = pendingInteraction({ ...consentScopes, userId })
  hosted.handedOver.length = 0
  browser = new Person(hosted.origin)
  await clearAudit(hosted.database)
})

const open = () => browser.open(`/interaction/${hosted.pending?.uid}/consent`)
const audits = () => hosted.database.prisma.auditEvent.findMany({ orderBy: { id: 'asc' } })
const boxes = (text: string) => [...text.matchAll(/<input type="checkbox" name="scope" value="([^"]*)"( checked)?>/g)]

it('names the application, the person, each scope in words, and where the browser goes', async () => {
  const { text } = await open()
  for (const words of [
    'Harbour Shop',
    person.email,
    'See your email address',
    'See your orders',
    '<legend>Orders</legend>',
    'shop.example',
    'href="https://shop.example/privacy"',
    'href="https://shop.example/terms"',
  ])
    expect(text).toContain(words)
})

it('offers a ticked box for each optional scope and none for openid', async () => {
  const found = boxes((await open()).text)
  expect(found.map(([, value]) => value)).toEqual(['profile', 'email', 'offline_access', 'orders:read', 'orders:write'])
  expect(found.every(([, , checked]) => checked)).toBe(true)
})

it('hands over exactly what is ticked, and what is required', async () => {
  const page = await browser.submit(await open(), { decision: 'allow', scope: ['email', 'orders:read'] })
  expect(page.url).toBe(`${hosted.origin}/resumed`)
  expect(hosted.handedOver).toEqual([
    { what: 'consent', with: { openid: ['openid', 'email'], resources: { [orders]: ['orders:read'] } } },
  ])
  expect(await audits()).toMatchObject([
    {
      event: 'consent.granted',
      actorId: userId,
      clientId: 'shop-web',
      detail: { scopes: ['openid', 'email', 'orders:read'], leftOut: 3 },
    },
  ])
})

it('denying hands over a denial, whatever is ticked', async () => {
  await browser.submit(await open(), { decision: 'deny', scope: ['email'] })
  expect(hosted.handedOver).toEqual([{ what: 'deny' }])
  expect(await audits()).toMatchObject([{ event: 'consent.denied', actorId: userId }])
})

describe('advances nothing', () => {
  it.each([{}, { decision: '' }, { decision: 'ALLOW' }, { decision: 'yes' }, { decision: 'allow ' }])(
    'for the decision %o: 400 and a page that asks for one',
    async (fields) => {
      const page = await browser.submit(await open(), fields as Record<string, string>)
      expect(page.status).toBe(400)
      expect(page.text).toContain('Please answer the question')
      expect(hosted.handedOver).toEqual([])
    },
  )

  it.each(['phone', 'orders:delete', 'openid', 'profile email', '', `${orders} orders:read`, '__proto__'])(
    'for the scope "%s", which was not offered: 400',
    async (scope) => {
      const page = await browser.submit(await open(), { decision: 'allow', scope: ['email', scope] })
      expect(page.status).toBe(400)
      expect(hosted.handedOver).toEqual([])
    },
  )

  it('when nothing at all is left to allow: 422, and the boxes stay as they were', async () => {
    hosted.pending = pendingInteraction({ ...consentScopes, openidScopes: [], userId })
    const page = await browser.submit(await open(), { decision: 'allow', scope: [] })
    expect(page.status).toBe(422)
    expect(page.text).toContain('role="alert"')
    expect(boxes(page.text).map(([, , checked]) => checked)).toEqual([undefined, undefined])
    expect(hosted.handedOver).toEqual([])
  })

  it('for two decisions at once: 400', async () => {
    const page = await browser.submit(await open(), { decision: ['deny', 'allow'] })
    expect(page.status).toBe(400)
    expect(hosted.handedOver).toEqual([])
  })
})

describe('what the application cannot do without', () => {
  const asked = (required: boolean) =>
    pendingInteraction({
      prompt: 'consent',
      userId,
      openidScopes: [
        { name: 'openid', required: true },
        { name: 'email', required },
      ],
      resources: [
        {
          identifier: orders,
          name: 'Orders',
          scopes: [
            { name: 'orders:read', description: 'See your orders', required },
            { name: 'orders:write', description: 'Create and change orders', required: false },
          ],
        },
      ],
    })

  it('is shown with its words and its name, has no box, and is handed over whatever is ticked', async () => {
    hosted.pending = asked(true)
    const page = await open()
    expect(boxes(page.text).map(([, value]) => value)).toEqual(['orders:write'])
    expect(page.text).toMatch(/See your orders<\/span> <code>orders:read<\/code> <small>needed by the application/)
    expect(page.text.match(/needed by the application/g)).toHaveLength(2)
    await browser.submit(page, { decision: 'allow', scope: [] })
    expect(hosted.handedOver).toEqual([
      { what: 'consent', with: { openid: ['openid', 'email'], resources: { [orders]: ['orders:read'] } } },
    ])
  })

  it('is never given by somebody who was told that it may be left out: they look again, with their ticks', async () => {
    hosted.pending = asked(false)
    const page = await open()
    hosted.pending = asked(true)
    const again = await browser.submit(page, { decision: 'allow', scope: [] })
    expect([again.status, hosted.handedOver]).toEqual([409, []])
    expect(again.text).toContain('has changed what it needs')
    expect(boxes(again.text).map(([, value, checked]) => [value, checked])).toEqual([['orders:write', undefined]])
    await browser.submit(again, { decision: 'allow', scope: [] })
    expect(hosted.handedOver).toHaveLength(1)
  })

  it('can be refused like everything', async () => {
    hosted.pending = asked(true)
    await browser.submit(await open(), { decision: 'deny' })
    expect(hosted.handedOver).toEqual([{ what: 'deny' }])
  })
})

it('keeps apart what two APIs call by one name', async () => {
  const scope = { name: 'read', description: 'Read it', required: false }
  const other = 'https://api.example.com/bills'
  hosted.pending = pendingInteraction({
    prompt: 'consent',
    userId,
    resources: [
      { identifier: orders, name: 'Orders', scopes: [scope] },
      { identifier: other, name: 'Bills', scopes: [scope] },
    ],
  })
  const page = await open()
  expect(boxes(page.text).map(([, value]) => value)).toEqual([`${orders} read`, `${other} read`])
  await browser.submit(page, { decision: 'allow', scope: [`${other} read`] })
  expect(hosted.handedOver).toEqual([
    { what: 'consent', with: { openid: [], resources: { [orders]: [], [other]: ['read'] } } },
  ])
})

it('is over for somebody who was switched off meanwhile', async () => {
  await setUserDisabled(hosted.database.prisma, userId, true, { now: new Date(), actor: { kind: 'system' } })
  const page = await open()
  await setUserDisabled(hosted.database.prisma, userId, false, { now: new Date(), actor: { kind: 'system' } })
  expect(page.status).toBe(410)
})

it('links to nothing but web addresses', async () => {
  const bad = 'javascript:alert(1)'
  const client = {
    id: 'c',
    name: 'C',
    clientUri: bad,
    logoUri: bad,
    logo: undefined,
    policyUri: 'data:text/html,x',
    tosUri: 'nothing',
  }
  hosted.pending = pendingInteraction({ ...consentScopes, userId, client })
  const { text } = await open()
  expect(text).not.toMatch(/javascript:|data:/)
})

it('shows an application on the device by its scheme', async () => {
  hosted.pending = pendingInteraction({ ...consentScopes, userId, redirectOrigin: 'com.example.app:' })
  const { text, headers } = await open()
  expect(text).toContain('com.example.app:')
  expect(headers.get('content-security-policy')).toContain("form-action 'self' com.example.app:;")
})
