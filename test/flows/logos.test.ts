// A client's picture as a browser gets it: from here, as a picture and nothing else.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { deleteClient } from '#src/clients/clients.ts'
import { setClientLogo } from '#src/clients/logos.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { chunk, harbourLogo, jpeg, picture, png, webp } from '#test/support/logos.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
})
afterAll(() => server.stop())

const set = async (logo: Parameters<typeof setClientLogo>[2]) => {
  await setClientLogo(server.database.prisma, 'shop-web', logo, change())
  await server.settle()
}
const img = `<img class="logo" src="/logos/${harbourLogo.name}" alt="" width="48" height="48">`

test.each([
  ['a PNG', png(8, 8), 'image/png'],
  ['a JPEG', jpeg, 'image/jpeg'],
  ['a WebP', webp.lossy, 'image/webp'],
] as const)('%s: its bytes and its type, for good, and nothing runs in it', async (_what, bytes, type) => {
  const logo = picture(bytes)
  await set(logo)
  const answer = await fetch(`${server.url}/logos/${logo.name}`)
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, type])
  expect(Buffer.from(await answer.arrayBuffer())).toEqual(bytes)
  expect(answer.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
  expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
  expect(answer.headers.get('cross-origin-resource-policy')).toBe('same-origin')
  expect(answer.headers.get('content-security-policy')).toMatch(/^default-src 'none';.*; sandbox$/)
  expect(answer.headers.getSetCookie()).toEqual([])
  const etag = answer.headers.get('etag') ?? ''
  const again = await fetch(`${server.url}/logos/${logo.name}`, {
    headers: { 'If-None-Match': etag, 'Cache-Control': 'max-age=0' }, // else fetch asks for a fresh one
  })
  expect([again.status, await again.text()]).toEqual([304, ''])
  const head = await fetch(`${server.url}/logos/${logo.name}`, { method: 'HEAD' })
  expect([head.status, head.headers.get('content-length')]).toEqual([200, String(bytes.length)])
})

test('a picture that says it is a page stays a picture', async () => {
  const bytes = png(8, 8)
  const words = chunk('tEXt', Buffer.from('Comment\0<!doctype html><script>alert(1)</script>'))
  const logo = picture(Buffer.concat([bytes.subarray(0, 33), words, bytes.subarray(33)]))
  await set(logo)
  const answer = await fetch(`${server.url}/logos/${logo.name}`, { headers: { Accept: 'text/html' } })
  expect(answer.headers.get('content-type')).toBe('image/png')
  expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
})

test('whoever does not know the name of one gets nothing', async () => {
  await set(harbourLogo)
  const { name } = harbourLogo
  for (const path of [
    `/logos/${'A'.repeat(43)}.png`,
    `/logos/${name.replace('.png', '.jpg')}`,
    `/logos/${name.replace('.png', '.svg')}`,
    `/logos/${name.replace('.png', '')}`,
    `/logos/${name}x`,
    '/logos/shop-web',
    '/logos/',
    '/logos/..%2f..%2fpackage.json',
    '/logos/%00.png',
    `/logos/${name}/x`,
  ]) {
    const answer = await fetch(server.url + path, { redirect: 'manual' })
    expect([400, 404], path).toContain(answer.status)
    expect(answer.headers.get('cache-control') ?? '', path).not.toContain('immutable')
  }
  expect((await fetch(`${server.url}/logos/${name}`, { method: 'POST' })).status).toBe(405)
})

test('it stands where the name stands: login, consent, the applications of the account, logout', async () => {
  await set(harbourLogo)
  const person = new Person(server.url)
  const login = await person.open((await j.begin({ prompt: 'consent' })).address)
  expect(login.text).toContain(img)
  const consent = await person.submit(login, { identifier: 'alice@example.com', password })
  expect(consent.url).toContain('/consent')
  expect(consent.text).toContain(img)
  await person.submit(consent, { decision: 'allow' })
  for (const path of ['/account/applications', '/account/applications/shop-web'])
    expect((await person.open(path)).text, path).toContain(img)
  const { id_token } = await j.tokensFor({}, person)
  expect((await person.open(`/oauth/logout?id_token_hint=${id_token}`)).text).toContain(img)
  expect((await person.open('/oauth/logout')).text).not.toContain('class="logo"')
})

test('one that is taken away, or whose client goes, is served no more', async () => {
  await set(harbourLogo)
  await set(null)
  expect((await fetch(`${server.url}/logos/${harbourLogo.name}`)).status).toBe(404)
  const login = await new Person(server.url).open((await j.begin()).address)
  expect(login.text).not.toContain('class="logo"')
  await setClientLogo(server.database.prisma, 'shop-spa', harbourLogo, change())
  expect((await fetch(`${server.url}/logos/${harbourLogo.name}`)).status).toBe(200)
  await deleteClient(server.database.prisma, 'shop-spa', change())
  expect((await fetch(`${server.url}/logos/${harbourLogo.name}`)).status).toBe(404)
})

test('a client that is not there has none', async () => {
  await expect(setClientLogo(server.database.prisma, 'nobody', harbourLogo, change())).rejects.toThrow(
    /is not a client/,
  )
})
