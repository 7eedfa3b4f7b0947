// Secrets that the declarative file names: variables and files, which of them may be named, and that what was read shows nowhere.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: such strings are what this is about.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { linkSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findClient } from '#src/clients/clients.ts'
import { newClientSecret, verifyClientSecret } from '#src/clients/secrets.ts'
import { readConfig } from '#src/config.ts'
import { applyDeclaration } from '#src/declaration/apply.ts'
import { exportDeclaration } from '#src/declaration/export.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import { resolveSecrets } from '#src/declaration/secrets.ts'
import { verifyPassword } from '#src/factors/password.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const place = mkdtempSync(join(tmpdir(), 'sallyport-secrets-'))
const [folder, mounted, data] = [join(place, 'config'), join(place, 'run', 'secrets'), join(place, 'data')]
const secret = newClientSecret()
const password = 'correct horse battery'
let created: TestDatabase

beforeAll(async () => {
  created = await createTestDatabase()
  for (const each of [folder, join(mounted, '..data'), data]) mkdirSync(each, { recursive: true })
  writeFileSync(join(folder, 'beside'), secret)
  writeFileSync(join(mounted, '..data', 'shop'), `${secret}\n`)
  symlinkSync(join('..data', 'shop'), join(mounted, 'shop')) // as Kubernetes mounts them
  writeFileSync(join(mounted, 'windows'), `${secret}\r\n`)
  writeFileSync(join(mounted, 'empty'), '\n')
  writeFileSync(join(mounted, 'lines'), `${secret}\n\n`)
  writeFileSync(join(mounted, 'long'), 'x'.repeat(5000))
  writeFileSync(join(mounted, 'bytes'), Buffer.from([0xff, 0xfe]))
  writeFileSync(join(mounted, 'short'), 'too short to be one')
  writeFileSync(join(mounted, 'key'), randomBytes(32).toString('base64'))
  linkSync(join(mounted, 'key'), join(mounted, 'key-by-another-name'))
  symlinkSync(join(mounted, 'key'), join(folder, 'key-by-a-link'))
  writeFileSync(join(data, 'secret-key'), secret)
  writeFileSync(join(place, 'outside'), secret)
  symlinkSync(join(place, 'outside'), join(mounted, 'leads-out'))
  symlinkSync(data, join(folder, 'data'))
  execFileSync('/usr/bin/env', ['mkfifo', join(mounted, 'pipe')])
})
afterAll(async () => {
  rmSync(place, { recursive: true })
  await created.drop()
})

const env = {
  SHOP_SECRET: secret,
  LONELY: '',
  TWO_LINES: `${secret}\nand more`,
  SHORT: 'too short to be one',
  ALICE: password,
  PGPASSWORD: secret,
  ADMIN_PASSWORD: secret,
  ADMIN_EMAIL: 'admin@example.com',
  SECRET_KEY: randomBytes(32).toString('base64url'),
  FACTOR_WEBHOOK_SECRET_FILE: join(mounted, 'key'),
  FACTOR_WEBHOOK_URL: 'https://factors.example/',
  SECRETS_DIR: mounted,
  DATA_DIR: data,
}
const source = () => readConfig(env).namedSecrets
const resolve = (text: string) => resolveSecrets(parseDeclaration(text), folder, source())
const client = (fields: string) => `clients:\n  - clientId: shop\n    type: service\n    ${fields}\n`
const refusal = (work: () => unknown): string => {
  try {
    work()
  } catch (error) {
    return (error as Error).message
  }
  return 'was taken'
}

describe('what is named', () => {
  test.each([
    ['a variable', 'clientSecret: ${SHOP_SECRET}'],
    ['a variable in quotation marks', 'clientSecret: "${SHOP_SECRET}"'],
    ['a file beside this one', 'clientSecretFile: ./beside'],
    [
      'a file of SECRETS_DIR, by a link, with a line break at its end',
      () => `clientSecretFile: ${join(mounted, 'shop')}`,
    ],
    ['the same with the line break of Windows', () => `clientSecretFile: ${join(mounted, 'windows')}`],
    ['the same, seen from the folder', 'clientSecretFile: ../run/secrets/shop'],
  ])('%s becomes the secret', (_, fields) => {
    const { clients } = resolve(client(typeof fields === 'string' ? fields : fields()))
    expect(clients).toEqual([{ clientId: 'shop', type: 'service', clientSecret: secret }])
  })

  test('it is what the client and the person prove themselves with; plan, record and export do not hold it', async () => {
    const text = `${client('clientSecret: ${SHOP_SECRET}')}users: [{ email: alice@example.com, password: "\${ALICE}" }]`
    const apply = (dryRun: boolean) =>
      applyDeclaration(created.database, resolve(text), { ...change, prune: false, dryRun })
    const { prisma } = created.database
    const plan = await apply(true)
    expect(plan).toHaveLength(2)
    expect(await findClient(prisma, 'shop')).toBeNull()
    const changes = await apply(false)
    expect(changes).toEqual(plan)
    const record = await findClient(prisma, 'shop')
    expect(record && verifyClientSecret(record, secret, change.now)).toBe(true)
    expect(await verifyPassword(prisma, { identifier: 'alice@example.com', password })).toMatchObject({ ok: true })
    const seen = JSON.stringify([changes, await prisma.auditEvent.findMany({ select: { detail: true, event: true } })])
    for (const value of [secret, password, 'SHOP_SECRET'])
      for (const place of [seen, await exportDeclaration(prisma)]) expect(place).not.toContain(value)
    expect(await apply(false)).toEqual([])
  })

  test('elsewhere ${…} is text like any other', () => {
    const text =
      'clients: [{ clientId: shop, type: spa, name: "${SHOP_SECRET}", redirectUris: [https://shop.example/cb] }]'
    expect(resolve(text).clients).toMatchObject([{ name: '${SHOP_SECRET}' }])
  })

  test('a name that nobody looked up never becomes a secret', async () => {
    for (const fields of ['clientSecret: ${SHOP_SECRET}', 'clientSecretFile: ./beside'])
      await expect(
        applyDeclaration(created.database, parseDeclaration(client(fields).replace('shop', 'other')), {
          ...{ ...change, prune: false, dryRun: false },
        }),
      ).rejects.toThrow(/clients\[0\]\.clientSecret(File)? names a (variable|file), and there are none here/)
  })
})

describe('what cannot be named', () => {
  test.each([
    'SECRET_KEY',
    'SECRET_KEY_FILE',
    'DATABASE_URL',
    'ADMIN_PASSWORD',
    'FACTOR_WEBHOOK_SECRET',
    'FACTOR_WEBHOOK_SECRET_FILE',
    'SMTP_URL',
    'AUDIT_SYSLOG_URL',
    'PGPASSWORD',
  ])('the variable %s is the server’s own', (name) => {
    expect(refusal(() => resolve(client(`clientSecret: \${${name}}`)))).toBe(
      `clients[0].clientSecret (line 4) names the variable ${name}, which is the server's own. Give this secret a variable of its own.`,
    )
  })

  test.each([
    ['an absolute path outside', () => join(place, 'outside'), /is neither in the folder/],
    ['one that climbs out', () => '../outside', /is neither in the folder/],
    ['a link that leads out', () => join(mounted, 'leads-out'), /is neither in the folder/],
    ['the environment of the process', () => '/proc/self/environ', /is neither in the folder/],
    ['the key of DATA_DIR', () => '../data/secret-key', /is neither in the folder/],
    ['the key of DATA_DIR by a link beside the file', () => './data/secret-key', /is neither in the folder/],
    ['a file that one of our own variables names', () => join(mounted, 'key'), /holds a secret of the server's own/],
    ['the same by a hard link', () => join(mounted, 'key-by-another-name'), /holds a secret of the server's own/],
    ['the same by a symbolic link', () => './key-by-a-link', /holds a secret of the server's own/],
    ['what is not there', () => './nothing', /names a file that cannot be read \(ENOENT\)/],
    ['a folder', () => mounted, /cannot be read \(not a file\)/],
    ['a pipe, which is not waited for', () => join(mounted, 'pipe'), /cannot be read \(not a file\)/],
    ['an empty file', () => join(mounted, 'empty'), /names a file, which is empty/],
    ['several lines', () => join(mounted, 'lines'), /names a file, which has more than one line/],
    ['a long file', () => join(mounted, 'long'), /is too long for a secret/],
    ['no text', () => join(mounted, 'bytes'), /is not text in UTF-8/],
    ['what is no secret', () => join(mounted, 'short'), /names a file, whose content must have 32 to 256/],
  ])('%s', (_, path, said) => {
    const message = refusal(() => resolve(client(`clientSecretFile: ${path()}`)))
    expect(message).toMatch(said)
    expect(message).toMatch(/^clients\[0\]\.clientSecretFile \(line 4\) /)
    for (const value of [secret, 'too short to be one']) expect(message).not.toContain(value)
  })

  test('what is ours stays ours where DATA_DIR lies beside the file', () => {
    const inside = { ...source(), ours: [join(mounted, '..data')] }
    expect(
      refusal(() => resolveSecrets(parseDeclaration(client('clientSecretFile: ../run/secrets/shop')), folder, inside)),
    ).toMatch(/holds a secret of the server's own/)
  })

  test.each([
    ['is not set', 'NOBODY_SET_THIS', /names the variable NOBODY_SET_THIS, which is not set\. Set it/],
    ['is empty', 'LONELY', /names the variable LONELY, which is empty/],
    ['has two lines', 'TWO_LINES', /names the variable TWO_LINES, which has more than one line/],
    ['is no secret', 'SHORT', /names the variable SHORT, whose content must have 32 to 256/],
  ])('a variable that %s', (_, name, said) => {
    const message = refusal(() => resolve(client(`clientSecret: \${${name}}`)))
    expect(message).toMatch(said)
    expect(message).toMatch(/^clients\[0\]\.clientSecret \(line 4\) /)
    for (const value of [secret, 'too short']) expect(message).not.toContain(value)
  })

  test('every flaw at once', () => {
    const text = `${client('clientSecret: ${NOBODY_SET_THIS}')}users:\n  - email: a@example.com\n    passwordFile: ./nothing\n`
    expect(refusal(() => resolve(text)).split('\n')).toEqual([
      expect.stringMatching(/^clients\[0\]\.clientSecret \(line 4\)/),
      expect.stringMatching(/^users\[0\]\.passwordFile \(line 7\)/),
    ])
  })

  test.each([
    [
      'half a variable',
      'clientSecret: abc-${SHOP_SECRET}-0123456789abcdef0123',
      /clientSecret \(line 4\) has \$\{ in it/,
    ],
    ['a variable with a default', 'clientSecret: ${SHOP_SECRET:-0123456789abcdef0123456}', /has \$\{ in it/],
    [
      'two ways at once',
      'clientSecret: ${SHOP_SECRET}\n    clientSecretFile: ./beside',
      /stands beside clientSecretFile/,
    ],
    [
      'a file and a hash',
      'clientSecretFile: ./beside\n    clientSecretHash: []',
      /clientSecretFile .*stands beside clientSecretHash/,
    ],
    ['no path', 'clientSecretFile: ""', /clientSecretFile \(line 4\) is not the path of a file/],
  ])('%s is refused before anything is looked up', (_, fields, said) => {
    expect(refusal(() => parseDeclaration(client(fields)))).toMatch(said)
  })

  test('a client without secrets gets none by a file either', () => {
    const text = 'clients: [{ clientId: a, type: spa, redirectUris: [https://a.example/], clientSecretFile: ./beside }]'
    expect(refusal(() => parseDeclaration(text))).toMatch(/clientSecretFile .*cannot be given to a client of type spa/)
  })
})
