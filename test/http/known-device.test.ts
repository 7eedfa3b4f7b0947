// The cookie of a browser in which somebody signed in: for that person, from that browser, and not for ever.
import type { Context } from 'koa'
import { expect, test } from 'vitest'
import { createKnownDevices } from '#src/http/known-device.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'

const dayMs = 86_400_000
let now = new Date('2026-03-01T12:00:00Z')
const devicesOf = (keys: number[], https = true) =>
  createKnownDevices({
    config: { https },
    secretKeys: createSecretKeys(keys.map((key) => Buffer.alloc(32, key))),
    now: () => now,
  })
const devices = devicesOf([1])

/** A browser's one cookie, as Koa hands it over. */
function browser(value?: string) {
  const jar = { value, name: '', options: {} as Record<string, unknown> }
  const ctx = {
    cookies: {
      get: () => jar.value,
      set: (name: string, text: string, options: Record<string, unknown>) =>
        Object.assign(jar, { name, value: text, options }),
    },
  } as unknown as Context
  return { ctx, jar }
}

test('knows a person who signed in there, and nobody else', () => {
  const { ctx } = browser()
  expect(devices.find(ctx, 'alice@example.com')).toBeUndefined()
  devices.remember(ctx, 'alice@example.com')
  expect(devices.find(ctx, 'alice@example.com')).toHaveLength(16)
  expect(devices.find(ctx, 'bob@example.com')).toBeUndefined()
})

test('is a __Host- cookie that no script reads (ASVS 3.3)', () => {
  const { ctx, jar } = browser()
  devices.remember(ctx, 'alice@example.com')
  expect(jar.name).toBe('__Host-sallyport_device')
  expect(jar.options).toMatchObject({ httpOnly: true, secure: true, sameSite: 'lax', path: '/' })
  expect(jar.options).not.toHaveProperty('domain')
  expect(jar.value).not.toContain('alice')
  const plain = browser()
  devicesOf([1], false).remember(plain.ctx, 'alice@example.com')
  expect(plain.jar).toMatchObject({ name: 'sallyport_device', options: { secure: false } })
})

test('signing in again keeps the device, so it brings no new budget', () => {
  const { ctx } = browser()
  devices.remember(ctx, 'alice@example.com')
  const first = devices.find(ctx, 'alice@example.com')
  devices.remember(ctx, 'alice@example.com')
  expect(devices.find(ctx, 'alice@example.com')).toEqual(first)
})

test('five people share a browser, the latest first', () => {
  const { ctx, jar } = browser()
  const people = ['a', 'b', 'c', 'd', 'e', 'f']
  for (const person of people) devices.remember(ctx, person)
  expect(people.filter((person) => devices.find(ctx, person))).toEqual(['b', 'c', 'd', 'e', 'f'])
  expect(jar.value?.length).toBeLessThan(500)
})

test.each([0, 10, 22, 23, 28, 29, 60])(
  'a flipped character at %i is somebody else’s browser (CVE-2026-119128)',
  (at) => {
    const { ctx, jar } = browser()
    devices.remember(ctx, 'alice@example.com')
    const value = jar.value ?? ''
    const other = value[at] === 'A' ? 'B' : value[at] === '1' ? '2' : 'A'
    jar.value = value.slice(0, at) + other + value.slice(at + 1)
    expect(devices.find(ctx, 'alice@example.com')).toBeUndefined()
  },
)

test.each(['', '~~~', 'x', `${'A'.repeat(22)}.1.${'A'.repeat(43)}`, 'A'.repeat(5000), `.${'~'.repeat(100)}.`])(
  'nothing is read out of %j',
  (value) => expect(devices.find(browser(value).ctx, 'alice@example.com')).toBeUndefined(),
)

test('an entry ends after 180 days, and one from tomorrow is none', () => {
  const { ctx } = browser()
  const begun = now
  devices.remember(ctx, 'alice@example.com')
  now = new Date(begun.getTime() + 179 * dayMs)
  expect(devices.find(ctx, 'alice@example.com')).toBeDefined()
  now = new Date(begun.getTime() + 180 * dayMs)
  expect(devices.find(ctx, 'alice@example.com')).toBeUndefined()
  now = new Date(begun.getTime() - 2 * dayMs)
  expect(devices.find(ctx, 'alice@example.com')).toBeUndefined()
  now = begun
})

test('a SECRET_KEY that was put in front forgets no device; one that left does', () => {
  const { ctx } = browser()
  devices.remember(ctx, 'alice@example.com')
  expect(devicesOf([2, 1]).find(ctx, 'alice@example.com')).toBeDefined()
  expect(devicesOf([2]).find(ctx, 'alice@example.com')).toBeUndefined()
})
