// The commands that administer, as a script sees them.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findClient } from '#src/clients/clients.ts'
import { verifyClientSecret } from '#src/clients/secrets.ts'
import { accountKey, reserveGuess } from '#src/factors/guessing.ts'
import { verifyPassword } from '#src/factors/password.ts'
import { replaceRecoveryCodes } from '#src/factors/recovery-code.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { unsealMail } from '#src/mail/outbox.ts'
import { findUserByEmail } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const directory = mkdtempSync(join(tmpdir(), 'sallyport-cli-'))
const file = join(directory, 'config.yaml')
const secretKey = randomBytes(32).toString('base64url')
let db: TestDatabase
let prisma: TestDatabase['database']['prisma']

beforeAll(async () => {
  db = await createTestDatabase()
  prisma = db.database.prisma
  writeFileSync(
    file,
    `apis: [{ identifier: https://api.example.com, name: Orders, scopes: { "orders:read": See } }]
roles: [{ name: clerk, permissions: ["orders:read"] }]
clients: [{ clientId: shop, type: web, clientSecret: 0123456789abcdef0123456789abcdef, redirectUris: [https://shop.example/cb] }]
users: [{ email: alice@example.com, password: correct horse battery, roles: [clerk] }]
`,
  )
})
afterAll(async () => {
  await db.drop()
  rmSync(directory, { recursive: true })
})

async function sallyport(args: string[], input = '', env: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['src/sallyport.mjs', ...args], {
    env: { PATH: process.env.PATH, DATABASE_URL: db.url, LOG_LEVEL: 'error', SECRET_KEY: secretKey, ...env },
  })
  child.stdin.end(input)
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { code, out, err }
}
const json = async (args: string[], input?: string) => {
  const { code, out, err } = await sallyport([...args, '--json'], input)
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out)
}

describe('apply and export', () => {
  test('plan, apply, apply again, export, apply the export: the same bytes', async () => {
    const planned = await json(['apply', '--file', file, '--dry-run'])
    expect(planned.changes).toHaveLength(4)
    expect(await json(['apply', '--file', file])).toEqual(planned)
    const again = await sallyport(['apply', '--file', file, '--json'])
    expect(again).toEqual({ code: 0, out: '{"changes":[]}\n', err: '' })
    const exported = await sallyport(['export'])
    const copy = join(directory, 'export.yaml')
    writeFileSync(copy, exported.out)
    expect(await json(['apply', '--file', copy, '--prune'])).toEqual({ changes: [] })
    expect((await sallyport(['export'])).out).toBe(exported.out)
    expect(exported.out).not.toContain('0123456789abcdef')
    expect((await json(['export'])).clients).toHaveLength(1)
  })

  test('for people: a sign, a kind and a name a line, and the sum', async () => {
    const changed = join(directory, 'changed.yaml')
    writeFileSync(changed, 'roles: [{ name: clerk, permissions: [] }, { name: boss }]\n')
    const { out } = await sallyport(['apply', '--file', changed, '--dry-run'])
    expect(out).toBe(
      '~ role   clerk\n           permissions: ["orders:read"] -> []\n+ role   boss\n\nDry run, nothing was changed. Would be: 1 created, 1 updated, 0 deleted.\n',
    )
  })

  test('a bad file: path, line and fix, code 1; no file or no option: 1 and 2', async () => {
    const bad = join(directory, 'bad.yaml')
    writeFileSync(bad, 'clients:\n  - clientId: a\n    type: spa\n    redirectUris: [http://a.example/]\n')
    const refused = await sallyport(['apply', '--file', bad])
    expect([refused.code, refused.out]).toEqual([1, ''])
    expect(refused.err).toBe(
      'clients[0].redirectUris[0] (line 4) ("http://a.example/") is plain http. Use https. Plain http is accepted for 127.0.0.1, [::1] and localhost only (RFC 8252 7.3).\n',
    )
    expect(await sallyport(['apply', '--file', join(directory, 'none.yaml')])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/cannot be read/),
    })
    expect(await sallyport(['apply'])).toMatchObject({ code: 2, out: '' })
  })
})

describe('clients', () => {
  test('create prints the secret once; it works, and only its hash is kept', async () => {
    const made = await json([
      'clients',
      'create',
      'robot',
      '--type',
      'service',
      '--api',
      'https://api.example.com=orders:read',
    ])
    expect(made).toMatchObject({ clientId: 'robot', apis: { 'https://api.example.com': ['orders:read'] } })
    const record = await findClient(prisma, 'robot')
    expect(record && verifyClientSecret(record, made.clientSecret, new Date())).toBe(true)
    expect(JSON.stringify(await json(['clients', 'show', 'robot']))).not.toContain(made.clientSecret)
    const [row] = await prisma.auditEvent.findMany({ where: { targetId: 'robot', event: 'client.created' } })
    expect(row).toMatchObject({ actorKind: 'cli' })
  })

  test('create takes lifetimes of refresh tokens, in seconds', async () => {
    const lifetimes = ['--refresh-token-ttl-seconds', '86400', '--refresh-token-idle-ttl-seconds', '600']
    const made = await json(['clients', 'create', 'kiosk', '--type', 'device', ...lifetimes])
    expect(made).toMatchObject({ refreshTokenTtlSeconds: 86_400, refreshTokenIdleTtlSeconds: 600 })
    expect((await findClient(prisma, 'kiosk'))?.refreshTokenIdleTtlSeconds).toBe(600)
  })

  test('add-secret makes one beside the first, or takes one from standard input', async () => {
    const added = await json(['clients', 'add-secret', 'robot', '--expires-in-days', '30'])
    const own = 'a-secret-of-my-own-0123456789-abcdef'
    const taken = await json(['clients', 'add-secret', 'robot', '--secret-stdin'], `${own}\n`)
    expect(taken).not.toHaveProperty('clientSecret')
    const record = await findClient(prisma, 'robot')
    for (const value of [added.clientSecret, own])
      expect(record && verifyClientSecret(record, value, new Date())).toBe(true)
    await json(['clients', 'remove-secret', 'robot', taken.secretId])
    const left = await findClient(prisma, 'robot')
    expect(left && verifyClientSecret(left, own, new Date())).toBe(false)
  })

  test('list is a table; a name cannot play with the terminal', async () => {
    await prisma.client.update({ where: { id: 'robot' }, data: { name: 'R\u001b[2Jbot' } })
    const { out } = await sallyport(['clients', 'list'])
    expect(out.split('\n')[0]).toMatch(/^CLIENT +TYPE +PROFILE +STATE +NAME$/)
    expect(out).toMatch(/^robot +service +default +active +R\?\[2Jbot$/m)
  })

  test('disable, enable, delete; unknown ones are refused with one sentence', async () => {
    await json(['clients', 'disable', 'robot'])
    expect((await findClient(prisma, 'robot'))?.disabledAt).not.toBeNull()
    await json(['clients', 'enable', 'robot'])
    await json(['clients', 'delete', 'robot'])
    for (const args of [
      ['clients', 'delete', 'robot'],
      ['clients', 'show', 'robot'],
      ['clients', 'disable', 'robot'],
    ]) {
      const { code, out, err } = await sallyport(args)
      expect([code, out, err]).toEqual([
        1,
        '',
        'clientId "robot" is not a client here. Check it against the list of clients.\n',
      ])
    }
  })

  test.each([
    [['clients', 'create', 'x']],
    [['clients', 'create', 'x', '--type', 'service', '--api', 'broken']],
    [['clients', 'create', 'x', '--secret', 'in-argv']],
    [['clients', 'add-secret']],
  ])('%j is wrong usage: 2', async (args) => expect(await sallyport(args)).toMatchObject({ code: 2, out: '' }))

  test('a bad value is refused by the room: 1', async () => {
    expect(
      await sallyport(['clients', 'create', 'x', '--type', 'web', '--redirect-uri', 'http://x.example/']),
    ).toMatchObject({ code: 1, err: expect.stringContaining('redirectUris[0]') })
    expect(await sallyport(['clients', 'create', 'x', '--type', 'desktop'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('type'),
    })
  })
})

describe('users', () => {
  test('create with a password from standard input; set-password replaces it; no password is taken as an argument', async () => {
    const made = await json(
      ['users', 'create', 'bob@example.com', '--role', 'clerk', '--name', 'Bob', '--password-stdin'],
      'a long enough password\n',
    )
    expect(made).toMatchObject({ email: 'bob@example.com', roles: ['clerk'], emailVerified: false })
    expect(
      await verifyPassword(prisma, { identifier: 'bob@example.com', password: 'a long enough password' }),
    ).toMatchObject({ ok: true })
    await json(['users', 'set-password', 'BOB@example.com'], 'another long password\n')
    expect(
      await verifyPassword(prisma, { identifier: 'bob@example.com', password: 'another long password' }),
    ).toMatchObject({ ok: true })
    expect(await sallyport(['users', 'set-password', 'bob@example.com'], 'short')).toMatchObject({
      code: 1,
      err: expect.stringContaining('password'),
    })
    expect(await sallyport(['users', 'set-password', 'bob@example.com'], '')).toMatchObject({ code: 1 })
    expect(await sallyport(['users', 'set-password', 'bob@example.com', 'in argv please'])).toMatchObject({ code: 2 })
  })

  test('limits and unlock: what failed guesses closed is shown, and forgotten', async () => {
    const account = accountKey(createSecretKeys([Buffer.from(secretKey, 'base64url')]), 'bob@example.com')
    const wrong = () => reserveGuess(db.database, { factor: 'totp', account, address: '192.0.2.1', now: new Date() })
    for (let n = 0; n < 5; n++) await wrong()
    expect(await wrong()).toMatchObject({ allowed: false })
    expect(
      (await json(['users', 'limits', 'bob@example.com'])).map(({ factor }: { factor: string }) => factor),
    ).toEqual(expect.arrayContaining(['all', 'totp']))
    expect((await sallyport(['users', 'limits', 'bob@example.com'])).out).toMatch(/totp\s+strangers\s+5\s/)
    expect(await json(['users', 'unlock', 'bob@example.com'])).toMatchObject({ lifted: 2 })
    expect(await wrong()).toMatchObject({ allowed: true })
    await json(['users', 'unlock', 'bob@example.com'])
    expect((await sallyport(['users', 'unlock', 'bob@example.com'])).out).toBe(
      'Nothing counted against bob@example.com.\n',
    )
    expect((await sallyport(['users', 'unlock', 'nobody@example.com'])).code).toBe(1)
  })

  test('list, disable by id, enable by address', async () => {
    const [, bob] = await json(['users', 'list'])
    await replaceRecoveryCodes(prisma, bob.id, changeAt())
    expect(await json(['users', 'reset-factors', 'bob@example.com'])).toEqual({ id: bob.id, removed: 10 })
    expect(await prisma.auditEvent.findFirst({ where: { event: 'user.factors_reset' } })).toMatchObject({
      actorKind: 'cli',
      targetId: bob.id,
    })
    await json(['users', 'disable', bob.id])
    expect((await findUserByEmail(prisma, 'bob@example.com'))?.disabledAt).not.toBeNull()
    expect((await sallyport(['users', 'list'])).out).toMatch(/^bob@example\.com +\S{36} +disabled +clerk$/m)
    await json(['users', 'enable', 'bob@example.com'])
    expect((await findUserByEmail(prisma, 'bob@example.com'))?.disabledAt).toBeNull()
    expect(await sallyport(['users', 'disable', 'nobody@example.com'])).toMatchObject({ code: 1, out: '' })
  })
})

test('users invite: a mail waits, the link is shown to nobody, and SIGN_UP decides', async () => {
  const off = await sallyport(['users', 'invite', 'guest@example.com'])
  expect([off.code, off.err]).toEqual([1, expect.stringContaining('SIGN_UP is off')])
  const on = {
    SIGN_UP: 'invitation',
    SECRET_KEY: Buffer.from('0123456789abcdefghijklmnopqrstuv').toString('base64url'),
  }
  const { code, out } = await sallyport(
    ['users', 'invite', 'guest@example.com', '--days', '3', '--language', 'fr'],
    '',
    on,
  )
  expect([code, out]).toEqual([0, expect.stringContaining('Invited guest@example.com until')])
  const [mail] = await prisma.mail.findMany({ where: { template: 'invitation' } })
  const secretKeys = createSecretKeys([Buffer.from('0123456789abcdefghijklmnopqrstuv')])
  const sealed = unsealMail(secretKeys, { id: mail?.id ?? '', sealed: mail?.sealed ?? '' })
  expect(sealed).toMatchObject({ to: 'guest@example.com', locale: 'fr', data: { days: 3 } })
  expect(out).not.toContain((sealed.data as { token: string }).token)
  for (const [args, words] of [
    [['alice@example.com'], 'belongs to somebody already'],
    [['nobody'], 'is not an email address'],
    [['guest@example.com', '--role', 'nothing'], 'not a role here'],
    [['guest@example.com', '--days', '99'], 'from 1 to 30'],
    [['guest@example.com', '--language', 'tlh'], 'not a language here'],
  ] as const) {
    const refused = await sallyport(['users', 'invite', ...args], '', on)
    expect([refused.code, refused.err]).toEqual([1, expect.stringContaining(words)])
  }
}, 60_000)

test('apis and keys', async () => {
  expect(await json(['apis', 'list'])).toMatchObject([
    { identifier: 'https://api.example.com', accessTokenFormat: 'jwt' },
  ])
  expect(await json(['apis', 'show', 'https://api.example.com'])).toMatchObject({ scopes: { 'orders:read': 'See' } })
  expect((await sallyport(['apis', 'show', 'https://api.example.com'])).out).toMatch(/^accessTokenTtlSeconds +900$/m)
  expect(await sallyport(['apis', 'show', 'x'])).toMatchObject({ code: 1 })
  expect(await json(['keys', 'list'])).toEqual([])
})

describe('tokens revoke', () => {
  test('raises the generation of the person, the client or the grant', async () => {
    const alice = await findUserByEmail(prisma, 'alice@example.com')
    const shop = await findClient(prisma, 'shop')
    await prisma.grant.create({ data: { id: 'grant-1', userId: alice?.id ?? '', clientId: 'shop', payload: {} } })
    await json(['tokens', 'revoke', '--user', 'alice@example.com'])
    await json(['tokens', 'revoke', '--client', 'shop'])
    await json(['tokens', 'revoke', '--grant', 'grant-1'])
    expect((await findUserByEmail(prisma, 'alice@example.com'))?.generation).toBe((alice?.generation ?? 0) + 1)
    expect((await findClient(prisma, 'shop'))?.generation).toBe((shop?.generation ?? 0) + 1)
    expect(await prisma.grant.findUnique({ where: { id: 'grant-1' } })).toMatchObject({
      generation: 1,
      revokedAt: expect.any(Date),
    })
    expect(await sallyport(['tokens', 'revoke', '--grant', 'grant-1'])).toMatchObject({ code: 1 })
  })

  test.each([[[]], [['--user', 'a@example.com', '--client', 'shop']]])('with %j is wrong usage: 2', async (args) =>
    expect(await sallyport(['tokens', 'revoke', ...args])).toMatchObject({ code: 2, out: '' }),
  )
})
