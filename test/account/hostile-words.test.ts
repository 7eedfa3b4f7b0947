// What others wrote (an application its name, a program its user agent) and what the person wrote is shown as text, everywhere; and a
// stranger cannot put words of his own into a mail to somebody else.
import { randomUUID } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { nameBrowser } from '#src/browser-name.ts'
import { translator } from '#src/words.ts'
import { type AccountHome, addedSince, startAccount } from '#test/support/account.ts'
import { tamper } from '#test/support/audit.ts'
import { givePhone, giveTotp } from '#test/support/factors.ts'
import { change, orders } from '#test/support/installation.ts'
import type { Person } from '#test/support/person.ts'

let home: AccountHome
let person: Person
beforeAll(async () => {
  home = await startAccount()
  person = (
    await home.tokensFor({ scope: 'openid profile orders:read', resource: orders, prompt: 'consent' }, undefined, {
      resource: orders,
    })
  ).person
  await home.enter()
  await giveTotp(home.server, home.alice.id)
  await givePhone(home.server, home.alice.id)
  await addedSince(home)
})
afterAll(() => home.stop())

const payloads = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' autofocus onfocus=alert(1) x='",
  '" style="position:fixed" onmouseover="alert(1)',
  '</title><svg onload=alert(1)>',
  '<%= process.env %><%~ "<b>" %>',
  '{count, plural, other {<b>}}<b onclick=alert(1)>',
]

test.each(payloads)('%s', async (payload) => {
  const { prisma } = home.server.database
  await prisma.user.update({
    where: { id: home.alice.id },
    data: { name: payload, givenName: payload, zoneinfo: payload, locale: payload },
  })
  await prisma.client.update({ where: { id: 'shop-web' }, data: { name: payload, clientUri: `https://x/?${payload}` } })
  await prisma.api.update({ where: { identifier: orders }, data: { name: payload } })
  await prisma.scope.updateMany({ data: { description: payload } })
  await prisma.credential.updateMany({ where: { kind: 'totp' }, data: { name: payload } })
  await prisma.credential.updateMany({
    where: { kind: 'phone' },
    data: { name: payload, details: { ending: payload } },
  })
  await prisma.origin.updateMany({ data: { userAgent: `${payload}/1.0 (${payload})`, address: payload } })
  const [agent, address] = [`${payload}/1.0`, payload].map((text) => pg.escapeLiteral(text))
  await tamper(home.server.database, `UPDATE audit_event SET user_agent = ${agent}, address = ${address}`)
  await prisma.apiKey.deleteMany()
  const about = { name: 'k', apis: { [orders]: [] }, owner: { userId: home.alice.id } }
  const key = await createApiKey(prisma, about, change())
  await prisma.apiKey.updateMany({ data: { name: payload } })
  await prisma.apiKeyApi.updateMany({ data: { scopes: [payload] } })
  await prisma.apiKeyValue.updateMany({ data: { hint: payload } })
  const at = new Date()
  const asked = {
    userId: home.alice.id,
    impersonatorId: home.bob.id,
    fromSessionUid: 'x',
    reason: payload,
    askedAt: at,
  }
  const impersonation = { ...asked, id: randomUUID(), impersonatorGeneration: 0, begunAt: at, expiresAt: at }
  await prisma.impersonation.create({ data: impersonation })
  const [session] = (await home.sessionsOf(home.alice.id)).slice(-1)
  const factor = await prisma.credential.findFirstOrThrow({ where: { kind: 'totp' } })
  const phone = await prisma.credential.findFirstOrThrow({ where: { kind: 'phone' } })
  for (const path of [
    '/account',
    '/account/profile',
    '/account/profile/email',
    '/account/security',
    `/account/security/factors/${factor.id}`,
    `/account/security/factors/${phone.id}`,
    '/account/sessions',
    `/account/sessions/${session?.uid}`,
    '/account/applications',
    '/account/applications/shop-web',
    '/account/activity',
    '/account/api-keys',
    `/account/api-keys/${key.id}`,
    `/account/api-keys/${key.id}/rotate`,
  ]) {
    const page = await person.open(path)
    expect(page.status, path).toBe(200)
    expect(page.text, path).not.toContain(payload)
    expect(page.text, path).not.toMatch(/<script>|<img src=x|<svg onload/)
  }
})

test('only known names of browsers and systems are repeated', () => {
  const words = translator('en')
  for (const agent of [
    'Visit evil.example now/1.0 (x)',
    '<b>Call 555</b>/1.0',
    `${'x'.repeat(500)}/2 `,
    'curl/8.11.0',
    '',
  ])
    expect(nameBrowser(words, agent).name).toBe('Unknown device')
  expect(nameBrowser(words, 'Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0').name).toBe(
    'Firefox on Linux',
  )
  expect(
    nameBrowser(
      words,
      'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1',
    ),
  ).toEqual({ name: 'Safari on iPhone', icon: 'phone' })
})
