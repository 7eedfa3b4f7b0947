// Routes of the declarative file that come from OpenAPI documents: read beside it, applied as ordinary routes, exported as such.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { listRoutes, routeName } from '#src/apis/routes.ts'
import { applyDeclaration, planDeclaration } from '#src/declaration/apply.ts'
import { exportDeclaration, writeRoutes } from '#src/declaration/export.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import { expandRoutes } from '#src/declaration/routes.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const outside = mkdtempSync(join(tmpdir(), 'sallyport-openapi-'))
const folder = join(outside, 'config')
const orders = 'https://api.example.com/orders'
let created: TestDatabase
let prisma: TestDatabase['database']['prisma']

const document = `openapi: 3.0.3
servers: [{ url: https://api.example.com/v1 }]
security: [{ oauth: ["orders:read"] }]
paths:
  /orders/{id}:
    get: { x-sallyport-relation: "owner@order:{id}" }
    delete: { security: [{ oauth: ["orders:delete"] }], x-sallyport-roles: [support], x-sallyport-max-age: 900 }
  /orders/mine: { get: {} }
  /health: { get: { security: [] } }
components: { securitySchemes: { oauth: { type: oauth2 } } }
`
const write = (name: string, text: string | Buffer) => writeFileSync(join(folder, name), text)
const entry = (path: string, more = '') =>
  `{ openapi: ${JSON.stringify(path)}, api: "${orders}", host: api.example.com${more} }`
const ground = `apis: [{ identifier: "${orders}", name: Orders, scopes: { "orders:read": See, "orders:delete": Delete } }]
roles: [{ name: support }]
`
const file = (...entries: string[]) => `${ground}routes:\n${entries.map((one) => `  - ${one}\n`).join('')}`
const expand = (text: string) => expandRoutes(parseDeclaration(text), folder)
const apply = (text: string, prune = false) =>
  applyDeclaration(created.database, expand(text), { prune, dryRun: false, ...changeAt() })

beforeAll(async () => {
  created = await createTestDatabase()
  prisma = created.database.prisma
  mkdirSync(join(folder, 'apis'), { recursive: true })
  write('apis/orders.yaml', document)
  writeFileSync(join(outside, 'secret.yaml'), document)
  symlinkSync(join(outside, 'secret.yaml'), join(folder, 'linked.yaml'))
})
afterAll(async () => {
  rmSync(outside, { recursive: true })
  await created.drop()
})
beforeEach(async () => {
  await prisma.route.deleteMany()
  await prisma.api.deleteMany()
  await prisma.role.deleteMany()
})

test('each operation is a route, at the place of the entry; applied twice, nothing changes', async () => {
  const plain = (path: string) => `{ host: api.example.com, method: GET, path: "${path}", api: "${orders}" }`
  const text = file(plain('/before'), entry('./apis/orders.yaml'), plain('/after'))
  const changes = await apply(text)
  expect(changes.filter(({ kind }) => kind === 'route')).toHaveLength(6)
  const stored = await listRoutes(prisma)
  expect(stored.map(routeName)).toEqual([
    'GET api.example.com/before',
    'GET api.example.com/v1/health',
    'GET api.example.com/v1/orders/mine',
    'GET api.example.com/v1/orders/{id}',
    'DELETE api.example.com/v1/orders/{id}',
    'GET api.example.com/after',
  ])
  expect(stored.slice(1, 5)).toMatchObject([
    { anonymous: true, scopes: [] },
    { anonymous: false, scopes: ['orders:read'], relation: null },
    { scopes: ['orders:read'], relation: 'owner@order:{id}' },
    { scopes: ['orders:delete'], roles: ['support'], maxAge: 900 },
  ])
  expect(await apply(text, true)).toEqual([])
})

test('an export has ordinary routes, and is the same bytes after it was applied', async () => {
  await apply(file(entry('./apis/orders.yaml', ', basePath: /api')))
  const exported = await exportDeclaration(prisma)
  expect(exported).toContain('    path: /api/orders/{id}\n')
  expect(exported).not.toContain('openapi')
  expect(await planDeclaration(prisma, parseDeclaration(exported), { prune: true })).toEqual([])
  await prisma.route.deleteMany()
  await applyDeclaration(created.database, parseDeclaration(exported), { prune: true, dryRun: false, ...changeAt() })
  expect(await exportDeclaration(prisma)).toBe(exported)
})

test('what `sallyport routes openapi` prints means the same as the entry', async () => {
  const text = file(entry('apis/orders.yaml'))
  const printed = writeRoutes((expand(text).routes ?? []).map(({ from: _, ...route }) => route))
  await apply(ground + printed)
  expect(await apply(text, true)).toEqual([])
})

test('an operation that leaves the document leaves with --prune', async () => {
  write('going.yaml', document)
  const text = file(entry('going.yaml'))
  await apply(text)
  write('going.yaml', document.replace('  /health: { get: { security: [] } }\n', ''))
  expect(await apply(text, true)).toEqual([{ action: 'delete', kind: 'route', id: 'GET api.example.com/v1/health' }])
})

const refused = async (text: string): Promise<string> => {
  try {
    await apply(text)
    return 'nothing'
  } catch (error) {
    return (error as Error).message
  }
}

test.each<[string, string, RegExp]>([
  ['a file above', entry('../secret.yaml'), /routes\[0\]\.openapi \(line 4\) leads out of the folder/],
  ['a file elsewhere', entry('/etc/hostname'), /leads out of the folder/],
  ['a link that leads out', entry('linked.yaml'), /routes\[0\]\.openapi leads out of the folder/],
  [
    'an address',
    entry('https://api.example.com/openapi.json'),
    /routes\[0\]\.openapi \(line 4\) is not the path of a file/,
  ],
  ['a file that is not there', entry('none.yaml'), /routes\[0\]\.openapi cannot be read \(ENOENT\)/],
  ['a folder', entry('apis'), /cannot be read \(not a file\)/],
  ['a document too large', entry('large.yaml'), /routes\[0\]\.openapi large\.yaml is larger than 1 MB/],
  [
    'a host that is none',
    `{ openapi: a.yaml, api: x, host: "https://a" }`,
    /routes\[0\]\.host \(line 4\) .* is not a host/,
  ],
  ['a base path that is none', entry('a.yaml', ', basePath: v1'), /routes\[0\]\.basePath \(line 4\)/],
  ['an entry without an API', '{ openapi: a.yaml, host: api.example.com }', /routes\[0\]\.api \(line 4\) is missing/],
  [
    'a field of the other kind of entry',
    entry('a.yaml', ', scopes: [x]'),
    /routes\[0\]\.scopes \(line 4\) is not a name known here/,
  ],
  ['a number for a file', `{ openapi: 5, api: x, host: a }`, /routes\[0\]\.openapi \(line 4\) must be text/],
  ['an entry that is neither', '5', /routes\[0\] \(line 4\) must be name: value pairs/],
  [
    'what the document says wrong',
    entry('open.yaml'),
    /routes\[0\]\.openapi open\.yaml, GET \/orders: security is said neither here/,
  ],
  [
    'a scope that the API lacks',
    entry('scope.yaml'),
    /routes\[0\]\.openapi scope\.yaml, GET \/orders: scopes\[0\] is "orders:pay", which is not a scope of that API/,
  ],
  [
    'a route twice',
    `${entry('apis/orders.yaml')}\n  - { host: api.example.com, method: GET, path: /v1/health, api: "${orders}" }`,
    /routes\[1\] repeats routes\[0\]\.openapi apis\/orders\.yaml, GET \/health/,
  ],
])('%s is refused, and nothing is changed', async (_what, written, words) => {
  const minimal = (operation: string) =>
    `openapi: 3.1.0\npaths: { /orders: { get: ${operation} } }\ncomponents: { securitySchemes: { a: { type: oauth2 } } }\n`
  write('large.yaml', Buffer.alloc(1_048_577, 32))
  write('open.yaml', minimal('{}'))
  write('scope.yaml', minimal('{ security: [{ a: ["orders:pay"] }] }'))
  expect(await refused(file(written))).toMatch(words)
  expect([await prisma.api.count(), await prisma.route.count()]).toEqual([0, 0])
})

test('a plain entry is told by its own place, whatever documents stand before it', async () => {
  const wrong = `{ host: api.example.com, method: GET, path: /x, api: "${orders}", scopes: [nothing] }`
  expect(await refused(file(entry('apis/orders.yaml'), wrong))).toMatch(
    /^routes\[1\]\.scopes\[0\] \(line 5\) is "nothing"/,
  )
})

test('where no file can be read, an entry that needs one is refused', async () => {
  await expect(
    planDeclaration(prisma, parseDeclaration(file(entry('apis/orders.yaml'))), { prune: false }),
  ).rejects.toThrow(/routes\[0\]\.openapi is a file, and there are none here/)
})
