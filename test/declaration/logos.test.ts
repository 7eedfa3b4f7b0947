// Pictures of clients in the declarative file: beside it and nowhere else, read when it is applied, exported as their hash.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { logoHash } from '#src/clients/logos.ts'
import { applyDeclaration, planDeclaration } from '#src/declaration/apply.ts'
import { exportDeclaration } from '#src/declaration/export.ts'
import { readLogos } from '#src/declaration/logos.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import { clearAudit } from '#test/support/audit.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { jpeg, picture, png } from '#test/support/logos.ts'

const change = changeAt()
const outside = mkdtempSync(join(tmpdir(), 'sallyport-logos-'))
const folder = join(outside, 'config')
let created: TestDatabase
let prisma: TestDatabase['database']['prisma']

beforeAll(async () => {
  created = await createTestDatabase()
  prisma = created.database.prisma
  mkdirSync(join(folder, 'pictures'), { recursive: true })
  writeFileSync(join(folder, 'logo.png'), png(8, 8))
  writeFileSync(join(folder, 'pictures', 'other.jpeg'), jpeg)
  writeFileSync(join(outside, 'secret.png'), png(9, 9))
})
afterAll(async () => {
  rmSync(outside, { recursive: true })
  await created.drop()
})
beforeEach(async () => {
  await prisma.client.deleteMany()
  await clearAudit(created.database)
})

const text = (logo?: string, more = '') =>
  `clients: [{ clientId: shop, type: spa, redirectUris: [https://shop.example/cb]${more}${logo === undefined ? '' : `, logo: ${JSON.stringify(logo)}`} }]`
async function apply(source: string, options: { dryRun?: boolean; prune?: boolean } = {}) {
  const declaration = parseDeclaration(source)
  const logos = readLogos(declaration, folder)
  return applyDeclaration(created.database, declaration, { prune: false, dryRun: false, ...options, ...change, logos })
}
const stored = async (clientId = 'shop') => ({
  name: (await prisma.client.findUnique({ where: { id: clientId } }))?.logo ?? null,
  row: await prisma.clientLogo.findUnique({ where: { clientId } }),
})
const hash = (bytes: Buffer) => logoHash(picture(bytes).name)

test('a picture beside the file is read, kept, and changes nothing the second time', async () => {
  expect(await apply(text('./logo.png'))).toEqual([{ action: 'create', kind: 'client', id: 'shop' }])
  const { name, row } = await stored()
  expect(name).toBe(picture(png(8, 8)).name)
  expect(row && [row.name, Buffer.from(row.body)]).toEqual([name, png(8, 8)])
  expect(await apply(text('./logo.png'))).toEqual([])
  expect(await apply(text('logo.png'))).toEqual([])
})

test('another picture is a change, told by its hash; one that is left out is taken away', async () => {
  await apply(text('./logo.png'))
  const version = async () => (await prisma.configurationVersion.findFirst())?.version ?? 0n
  const before = await version()
  expect(await apply(text('pictures/other.jpeg'))).toEqual([
    { action: 'update', kind: 'client', id: 'shop', fields: { logo: { from: hash(png(8, 8)), to: hash(jpeg) } } },
  ])
  expect(await version()).toBeGreaterThan(before)
  expect((await stored()).row?.name).toMatch(/\.jpg$/)
  expect(await apply(text(undefined, ', name: Shop'))).toMatchObject([
    { fields: { logo: { from: hash(jpeg), to: null }, name: { to: 'Shop' } } },
  ])
  expect(await stored()).toEqual({ name: null, row: null })
  expect(
    (await prisma.auditEvent.findMany({ where: { event: 'client.updated' }, orderBy: { id: 'asc' } })).map(
      ({ detail }) => detail,
    ),
  ).toEqual([{ logo: true }, { logo: true }, {}, { logo: false }])
})

test('a change of anything else leaves the picture', async () => {
  await apply(text('./logo.png'))
  expect(await apply(text('./logo.png', ', name: Harbour Shop'))).toMatchObject([{ fields: { name: {} } }])
  expect((await stored()).name).toBe(picture(png(8, 8)).name)
})

test('an export names it by its hash, and is the same bytes after it was applied', async () => {
  await apply(text('./logo.png'))
  const exported = await exportDeclaration(prisma)
  expect(exported).toContain(`    logo: ${hash(png(8, 8))}\n`)
  expect(await planDeclaration(prisma, parseDeclaration(exported), { prune: true })).toEqual([])
  expect(await apply(exported, { prune: true })).toEqual([])
  await apply(text(hash(png(8, 8)), ', name: Harbour Shop'))
  const again = await exportDeclaration(prisma)
  await apply(again)
  expect(await exportDeclaration(prisma)).toBe(again)
  expect((await stored()).row).not.toBeNull()
})

test('the hash of a picture that another client has is that picture, also when that client goes', async () => {
  await apply(text('./logo.png'))
  const other = `clients: [{ clientId: shop-two, type: spa, redirectUris: [https://shop.example/cb], logo: ${hash(png(8, 8))} }]`
  await apply(other, { prune: true })
  expect((await stored('shop-two')).row?.name).toBe(picture(png(8, 8)).name)
  expect(await prisma.client.count()).toBe(1)
})

test('a dry run reads it and keeps nothing', async () => {
  expect(await apply(text('./logo.png'), { dryRun: true })).toHaveLength(1)
  expect(await prisma.clientLogo.count()).toBe(0)
})

const refused = async (source: string): Promise<string> => {
  try {
    await apply(source)
    return 'nothing'
  } catch (error) {
    return (error as Error).message
  }
}

test.each([
  ['../secret.png', /logo \(line 1\) leads out of the folder of this file/],
  ['pictures/../../secret.png', /leads out of the folder/],
  ['pictures\\..\\..\\secret.png', /leads out of the folder/],
  ['/etc/hostname', /leads out of the folder/],
  ['~/secret.png', /cannot be read \(ENOENT\)/],
  ['https://shop.example/logo.png', /is not the path of a file/],
  ['data:image/png;base64,AAAA', /is not the path of a file/],
  ['file:///etc/hostname', /is not the path of a file/],
  ['logo.png\0.txt', /is not the path of a file/],
  ['', /is not the path of a file/],
  ['missing.png', /clients\[0\]\.logo \(line 1\) cannot be read \(ENOENT\)/],
  ['pictures', /cannot be read \(not a file\)/],
  ['.', /leads out of the folder/],
  ['linked.png', /leads out of the folder/],
  ['up/secret.png', /leads out of the folder/],
  ['pipe.png', /cannot be read \(not a file\)/],
  ['logo.png/x', /cannot be read \(ENOTDIR\)/],
  ['large.png', /is larger than 64 KiB/],
  ['page.png', /is not a PNG, a JPEG or a WebP/],
  ['drawing.svg', /is an SVG, which may hold scripts/],
  ['polyglot.png', /is damaged, or holds something beside the picture/],
  ['wide.png', /is 1025 x 1 pixels/],
  [`sha256-${'A'.repeat(43)}`, /is a picture that no client has here/],
])('%j is refused, and nothing is changed', async (logo, words) => {
  for (const [name, target] of [
    ['linked.png', join(outside, 'secret.png')],
    ['up', outside],
  ] as const)
    try {
      symlinkSync(target, join(folder, name))
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe('EEXIST')
    }
  if (logo === 'pipe.png') execFileSync('/usr/bin/env', ['mkfifo', join(folder, 'pipe.png')])
  writeFileSync(join(folder, 'large.png'), Buffer.concat([png(8, 8), Buffer.alloc(70_000)]))
  writeFileSync(join(folder, 'page.png'), '<!doctype html><script>alert(1)</script>')
  writeFileSync(join(folder, 'drawing.svg'), '<svg onload="alert(1)"/>')
  writeFileSync(join(folder, 'polyglot.png'), Buffer.concat([png(8, 8), Buffer.from('<script>alert(1)</script>')]))
  writeFileSync(join(folder, 'wide.png'), png(1025, 1))
  expect(await refused(text(logo))).toMatch(words)
  expect(await prisma.client.count()).toBe(0)
})

test('links within the folder are followed, as those of a mounted one', async () => {
  mkdirSync(join(folder, '..data-1'), { recursive: true })
  writeFileSync(join(folder, '..data-1', 'mounted.png'), png(8, 8))
  symlinkSync('..data-1/mounted.png', join(folder, 'mounted.png'))
  expect(await apply(text('./mounted.png'))).toHaveLength(1)
})

test('every flaw is told at once, and where nothing can be read a file is refused', async () => {
  const two = `clients:
  - { clientId: one, type: spa, redirectUris: [https://a.example/cb], logo: missing.png }
  - { clientId: two, type: spa, redirectUris: [https://b.example/cb], logo: page.png }`
  const message = await refused(two)
  expect(message).toMatch(/clients\[0\]\.logo .*\n.*clients\[1\]\.logo/)
  await expect(planDeclaration(prisma, parseDeclaration(text('./logo.png')), { prune: false })).rejects.toThrow(
    /is a file, and there are none here/,
  )
})
