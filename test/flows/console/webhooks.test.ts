// Webhooks in the console, form by form.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { findDelivery, listDeliveries } from '#src/webhooks/deliveries.ts'
import { findEndpoint, listEndpoints } from '#src/webhooks/endpoints.ts'
import { type ConsoleHome, headingOf, startConsole } from '#test/support/console.ts'
import type { Page, Person } from '#test/support/person.ts'

let home: ConsoleHome
let owner: Person
let reader: Person

beforeAll(async () => {
  home = await startConsole()
  owner = (await home.enter()).person
  const as = await home.appointWith('reader@example.com', 'reader', { permissions: ['webhooks:read'] })
  reader = (await home.enter('/admin/webhooks', { as })).person
})
afterAll(() => home.stop())

const prisma = () => home.server.database.prisma
const send = async (person: Person, path: string, fields: Record<string, string | string[]> = {}): Promise<Page> =>
  person.submit(await person.open(path), fields)
const secretIn = ({ text }: Page): string => /<code class="key">([^<]+)</.exec(text)?.[1] ?? ''
const fields = {
  url: 'https://hooks.example.com/a',
  description: 'Chat',
  types: 'user.*\nrole.created',
  enabled: 'yes',
}
const path = '/admin/webhooks'

async function make(): Promise<string> {
  await send(owner, `${path}/new`, fields)
  return (await listEndpoints(prisma())).at(-1)?.id ?? ''
}

test('one is made, and its secret is shown once, on a page that nothing keeps', async () => {
  const page = await send(owner, `${path}/new`, fields)
  const secret = secretIn(page)
  expect([page.status, page.headers.get('cache-control')]).toEqual([200, 'no-store'])
  expect(secret).toMatch(/^whsec_/)
  const [made] = await listEndpoints(prisma())
  expect(made).toMatchObject({ url: fields.url, types: ['user.*', 'role.created'], disabledAt: null })
  const shown = await owner.open(`${path}/${made?.id}`)
  expect([shown.text.includes(fields.url), shown.text.includes(secret)]).toEqual([true, false])
  expect(home.server.logged.join('')).not.toContain(secret)
})

test('its name is the host of the address until somebody gives another; one that is taken is refused', async () => {
  const id = await make()
  const nameOf = async () => (await findEndpoint(prisma(), id)).name
  expect(await nameOf()).toMatch(/^hooks\.example\.com(-\d+)?$/)
  const rename = async (name: string) => owner.submit(await owner.open(`${path}/${id}/edit`), { ...fields, name })
  await rename('chat')
  expect(await nameOf()).toBe('chat')
  expect((await owner.open(`${path}/${id}`)).text).toContain('<code>chat</code>')
  await rename('')
  expect(await nameOf()).toBe('chat')
  for (const [name, said, status] of [
    ['Chat room', 'is not a name of 1 to 64 characters', 422],
    ['hooks.example.com', 'is taken', 409],
  ] as const) {
    const page = await rename(name)
    expect([page.status, page.text.includes(said), page.text.includes(`value="${name}"`)]).toEqual([status, true, true])
  }
})

test('what is refused is said, and what was typed is still there', async () => {
  const before = (await listEndpoints(prisma())).length
  for (const wrong of [{ url: 'http://hooks.example.com/a' }, { types: 'user.nothing' }, { types: '' }]) {
    const page = await send(owner, `${path}/new`, { ...fields, description: 'Kept', ...wrong })
    expect([page.status, page.text.includes('role="alert"'), page.text.includes('value="Kept"')]).toEqual([
      422,
      true,
      true,
    ])
  }
  expect(await listEndpoints(prisma())).toHaveLength(before)
})

test('one is changed and switched off; of two editors the second is told', async () => {
  const id = await make()
  const [first, second] = [await owner.open(`${path}/${id}/edit`), await owner.open(`${path}/${id}/edit`)]
  const { enabled: _, ...off } = fields
  expect((await owner.submit(first, { ...off, types: '*' })).status).toBe(200)
  const changed = await findEndpoint(prisma(), id)
  expect(changed).toMatchObject({ types: ['*'], disabledBecause: 'by_hand' })
  const told = await owner.submit(second, { ...fields, types: 'api.*' })
  expect([told.status, told.text.includes('somebody changed it since you read it')]).toEqual([409, true])
  expect(await findEndpoint(prisma(), id)).toEqual(changed)
  const test = await send(owner, `${path}/${id}/test`)
  expect([test.status, test.text.includes('nothing is sent')]).toEqual([422, true])
})

test('a test becomes a delivery, which can be sent again; that of another webhook is not found', async () => {
  const [id, other] = [await make(), await make()]
  const page = await send(owner, `${path}/${id}/test`)
  expect([page.status, headingOf(page)]).toEqual([200, 'webhook.test'])
  const [delivery] = await listDeliveries(prisma(), id, {}, { limit: 5 })
  const deliveryId = String(delivery?.id)
  await prisma().webhookDelivery.update({
    where: { id: delivery?.id ?? 0n },
    data: { state: 'given_up', nextAttemptAt: null, endedAt: new Date() },
  })
  const states = async () => [
    (await owner.open(`${path}/${id}?state=given_up`)).text.includes('>webhook.test<'),
    (await owner.open(`${path}/${id}?state=waiting`)).text.includes('>webhook.test<'),
  ]
  expect(await states()).toEqual([true, false])
  expect((await send(reader, `${path}/${id}/deliveries/${deliveryId}`)).status).toBe(403)
  expect((await findDelivery(prisma(), id, deliveryId)).state).toBe('given_up')
  const again = await send(owner, `${path}/${id}/deliveries/${deliveryId}`)
  expect([again.status, again.text.includes('It was sent.')]).toEqual([200, true])
  expect(await states()).toEqual([false, true])
  expect((await owner.open(`${path}/${other}/deliveries/${deliveryId}`)).status).toBe(404)
})

test('a new secret is shown once, and the one before signs for the overlap', async () => {
  const id = await make()
  const before = await findEndpoint(prisma(), id)
  const wrong = await send(owner, `${path}/${id}/rotate`, { hours: '999' })
  expect([wrong.status, wrong.text.includes('value="999"')]).toEqual([422, true])
  const page = await send(owner, `${path}/${id}/rotate`, { hours: '2' })
  expect(secretIn(page)).toMatch(/^whsec_/)
  const after = await findEndpoint(prisma(), id)
  expect([after.previousSecret, after.secret === before.secret]).toEqual([before.secret, false])
})

test('one is deleted; unknown ones are not found', async () => {
  const id = await make()
  const page = await send(owner, `${path}/${id}/delete`)
  expect([page.status, headingOf(page)]).toEqual([200, 'Webhooks'])
  for (const end of ['', '/edit', '/test', '/rotate', '/delete', '/deliveries/1'])
    expect((await owner.open(`${path}/${id}${end}`)).status).toBe(404)
})

test('whoever may only read changes nothing, and is shown no button', async () => {
  const id = await make()
  const shown = await reader.open(`${path}/${id}`)
  expect([shown.status, shown.text.includes(`${id}/delete`)]).toEqual([200, false])
  for (const end of ['new', `${id}/edit`, `${id}/test`, `${id}/rotate`, `${id}/delete`])
    expect((await reader.open(`${path}/${end}`)).status).toBe(403)
  expect(await findEndpoint(prisma(), id)).toBeDefined()
})
