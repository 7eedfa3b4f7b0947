// The commands that administer, as a script sees them.
// biome-ignore-all lint/suspicious/noTemplateCurlyInString: a file may name variables so.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { findClient } from '#src/clients/clients.ts'
import { verifyClientSecret } from '#src/clients/secrets.ts'
import { accountKey, reserveGuess } from '#src/factors/guessing.ts'
import { verifyPassword } from '#src/factors/password.ts'
import { replaceRecoveryCodes } from '#src/factors/recovery-code.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { makeSigningKey, storeSigningKey } from '#src/keys/signing-keys.ts'
import { unsealMail } from '#src/mail/outbox.ts'
import { findUserByEmail } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { picture, png } from '#test/support/logos.ts'

const secretKey = randomBytes(32)
const directory = mkdtempSync(join(tmpdir(), 'sallyport-cli-'))
const file = join(directory, 'config.yaml')
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
    env: {
      PATH: process.env.PATH,
      DATABASE_URL: db.url,
      LOG_LEVEL: 'error',
      SECRET_KEY: secretKey.toString('base64url'),
      ...env,
    },
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
    // sallyport export | sallyport apply --file -
    const fresh = await createTestDatabase()
    const there = { DATABASE_URL: fresh.url }
    const applied = await sallyport(['apply', '--file', '-', '--json'], exported.out, there)
    expect([applied.code, applied.err, JSON.parse(applied.out).changes.length]).toEqual([0, '', 4])
    expect((await sallyport(['export'], '', there)).out).toBe(exported.out)
    await fresh.drop()
  })

  test('for people: a sign, a kind and a name a line, and the sum', async () => {
    const changed = join(directory, 'changed.yaml')
    writeFileSync(changed, 'roles: [{ name: clerk, permissions: [] }, { name: boss }]\n')
    const { out } = await sallyport(['apply', '--file', changed, '--dry-run'])
    expect(out).toBe(
      '~ role   clerk\n           permissions: ["orders:read"] -> []\n+ role   boss\n\nDry run, nothing was changed. Would be: 1 created, 1 updated, 0 deleted.\n',
    )
  })

  test('policies lie beside the file; a change is shown by its lines; a wrong one names itself, its line and its place, and nothing is changed', async () => {
    const at = join(directory, 'policies.yaml')
    const api = 'https://policies.example/orders'
    writeFileSync(join(directory, 'all.cedar'), 'permit (principal, action, resource);\n')
    writeFileSync(
      at,
      `apis: [{ identifier: "${api}", name: P, scopes: { read: See } }]\npolicies: [{ api: "${api}", name: all, file: all.cedar }]\n`,
    )
    expect((await json(['apply', '--file', at])).changes).toHaveLength(2)
    expect((await sallyport(['apply', '--file', at, '--json'])).out).toBe('{"changes":[]}\n')
    writeFileSync(join(directory, 'all.cedar'), 'permit (principal, action, resource)\nwhen { context.hour < 6 };\n')
    expect((await sallyport(['apply', '--file', at, '--dry-run'])).out).toBe(
      [
        `~ policy ${api} all`,
        '           text:',
        '             - permit (principal, action, resource);',
        '             + permit (principal, action, resource)',
        '             + when { context.hour < 6 };',
        '',
        'Dry run, nothing was changed. Would be: 0 created, 1 updated, 0 deleted.',
        '',
      ].join('\n'),
    )
    writeFileSync(join(directory, 'all.cedar'), '\npermit (principal, actions, resource);\n')
    const refused = await sallyport(['apply', '--file', at])
    expect([refused.code, refused.out]).toEqual([1, ''])
    expect(refused.err).toMatch(/^policies\[0\]\.file \(line 2\) of all at line 2, column 20 is not accepted: /)
    await prisma.api.delete({ where: { identifier: api } })
  })

  test('a secret that the file names is looked up, in a dry run too, and shows nowhere; doctor tells what differs afterwards', async () => {
    const [at, secret] = [join(directory, 'named.yaml'), randomBytes(32).toString('base64url')]
    writeFileSync(
      at,
      'clients: [{ clientId: named, type: service, clientSecret: "${NAMED_SECRET}" }, { clientId: filed, type: service, clientSecretFile: ./filed }]\n',
    )
    const run = (env: Record<string, string>, ...more: string[]) => sallyport(['apply', '--file', at, ...more], '', env)
    const missing = await run({}, '--dry-run')
    expect([missing.code, missing.out]).toEqual([1, ''])
    expect(missing.err).toBe(
      'clients[0].clientSecret (line 1) names the variable NAMED_SECRET, which is not set. Set it for the process that applies this file.\n' +
        'clients[1].clientSecretFile (line 1) names a file that cannot be read (ENOENT). Put it there, readable for whoever applies this file.\n',
    )
    writeFileSync(join(directory, 'filed'), `${secret}\n`)
    const env = { NAMED_SECRET: secret, LOG_LEVEL: 'debug' }
    for (const more of [['--dry-run'], [], ['--json']]) {
      const { code, out, err } = await run(env, ...more)
      expect([code, `${out}${err}`.includes(secret)]).toEqual([0, false])
    }
    for (const id of ['named', 'filed']) {
      const record = await findClient(prisma, id)
      expect(record && verifyClientSecret(record, secret, new Date())).toBe(true)
    }
    await prisma.client.delete({ where: { id: 'named' } })
    const doctor = JSON.parse((await sallyport(['doctor', '--json', '--fail-on', 'never'])).out)
    expect(doctor.findings.filter(({ id }: { id: string }) => id === 'drift:named')).toMatchObject([
      {
        subject: { kind: 'client', id: 'named' },
        what: expect.stringMatching(/^Is gone, and named\.yaml declared it/),
      },
    ])
    await prisma.client.delete({ where: { id: 'filed' } })
  })

  test('a pipe hears nothing of how far it is, however long it takes', async () => {
    const at = join(directory, 'people.yaml')
    const people = Array.from(
      { length: 40 },
      (_, n) => `  - { email: p${n}@example.com, password: "words in a row ${n * 7919}" }`,
    )
    writeFileSync(at, `users:\n${people.join('\n')}\n`)
    expect(await sallyport(['apply', '--file', at])).toMatchObject({ code: 0, err: '' })
    await prisma.user.deleteMany({ where: { email: { startsWith: 'p', endsWith: '@example.com' } } })
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

  test('create takes what a client gets by default and what may be left out; what it may not ask for is refused', async () => {
    const api = 'https://api.example.com'
    const make = (id: string, ...more: string[]) => [
      ...['clients', 'create', id, '--type', 'spa', '--redirect-uri', 'https://spa.example/', '--scope', 'openid'],
      ...['--scope', 'email', '--scope', 'profile', '--api', `${api}=orders:read`, ...more],
    ]
    const choices = ['--default-scope', 'openid', '--default-api', `${api}=orders:read`, '--optional-scope', 'email']
    expect(await json(make('chooser', ...choices))).toMatchObject({
      defaultScopes: ['openid'],
      defaultApiScopes: { [api]: ['orders:read'] },
      optionalScopes: ['email'],
      optionalApiScopes: {},
    })
    expect((await sallyport(['clients', 'show', 'robot'])).out).toMatch(/^optionalScopes +any but openid$/m)
    const refused = await sallyport(make('glutton', '--default-api', `${api}=orders:burn`))
    expect([refused.code, refused.err]).toEqual([1, expect.stringMatching(/defaultApiScopes\["https:\/\/api/)])
    await json(['clients', 'delete', 'chooser'])
  })

  test('set-logo takes a picture, and --no-logo takes it away; one of the two', async () => {
    const [logo, drawing] = [join(directory, 'logo.png'), join(directory, 'logo.svg.png')]
    writeFileSync(logo, png(8, 8))
    writeFileSync(drawing, '<svg onload="alert(1)"/>')
    const { name } = picture(png(8, 8))
    const hash = `sha256-${name.slice(0, 43)}`
    expect(await json(['clients', 'set-logo', 'robot', logo])).toEqual({ clientId: 'robot', logo: hash })
    expect((await findClient(prisma, 'robot'))?.logo).toBe(name)
    expect(await json(['clients', 'show', 'robot'])).toMatchObject({ logo: hash })
    for (const [args, code, words] of [
      [['robot', drawing], 1, /logo is an SVG, which may hold scripts/],
      [['robot', join(directory, 'none.png')], 1, /none\.png cannot be read \(ENOENT\)/],
      [['robot', directory], 1, /cannot be read \(not a file\)/],
      [['nobody', logo], 1, /"nobody" is not a client here/],
      [['robot'], 2, /name a file, or give --no-logo/],
      [['robot', logo, '--no-logo'], 2, /name a file, or give --no-logo/],
    ] as const) {
      const answer = await sallyport(['clients', 'set-logo', ...args])
      expect([answer.code, answer.out, answer.err]).toEqual([code, '', expect.stringMatching(words)])
    }
    expect((await findClient(prisma, 'robot'))?.logo).toBe(name)
    expect(await json(['clients', 'set-logo', 'robot', '--no-logo'])).toEqual({ clientId: 'robot', logo: null })
    expect(await prisma.clientLogo.count()).toBe(0)
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
    const account = accountKey(createSecretKeys([secretKey]), 'bob@example.com')
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
  for (const role of ['guide', 'porter']) await createRole(prisma, role, {}, changeAt())
  const both = ['users', 'invite', 'porter@example.com', '--role', 'guide', '--role', 'porter']
  expect((await sallyport(both, '', on)).code).toBe(0)
  const invited = await prisma.invitation.findFirstOrThrow({ where: { emailKey: 'porter@example.com' } })
  expect(invited.roles).toEqual(['guide', 'porter'])
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

describe('api-keys', () => {
  const orders = 'https://api.example.com=orders:read'

  test('create prints the value once; list reports; rotate leaves the one before for a while; revoke ends both', async () => {
    const made = await json(['api-keys', 'create', 'Alice’s laptop', '--user', 'alice@example.com', '--api', orders])
    expect(made).toMatchObject({
      name: 'Alice’s laptop',
      apis: { 'https://api.example.com': ['orders:read'] },
      state: 'active',
      values: [{ version: 1 }],
    })
    expect(made.value).toMatch(/^sp_key_/)
    const list = await sallyport(['api-keys', 'list', '--user', 'alice@example.com', '--never-rotated'])
    expect(list.out).toContain(made.id)
    expect(list.out).not.toContain(made.value.slice(12))
    expect(await json(['api-keys', 'list', '--idle-days', '7'])).toEqual([])

    const rotated = await sallyport(['api-keys', 'rotate', made.id, '--overlap-hours', '1'])
    expect(rotated.code).toBe(0)
    expect(rotated.out).toMatch(/ {2}sp_key_\S+\n\nIt is not shown again\.\nThe value before is good until /)
    expect(await json(['api-keys', 'list', '--never-rotated'])).toEqual([])
    expect(await json(['api-keys', 'revoke', made.id])).toEqual({ id: made.id, revoked: true })
    expect(await json(['api-keys', 'list', '--user', 'alice@example.com'])).toMatchObject([{ state: 'revoked' }])
    expect(await sallyport(['api-keys', 'revoke', made.id])).toMatchObject({ code: 1, out: '' })
  })

  test.each([
    ['nobody’s', 2, ['--api', orders]],
    ['two owners’', 2, ['--api', orders, '--user', 'alice@example.com', '--client', 'shop']],
    ['for no API', 2, ['--user', 'alice@example.com']],
    ['for ever and for a day', 2, ['--api', orders, '--user', 'alice@example.com', '--never', '--days', '1']],
    ['a person’s, for ever', 1, ['--api', orders, '--user', 'alice@example.com', '--never']],
    ['beyond its owner', 1, ['--api', orders, '--client', 'shop']],
  ])('is not made: %s', async (_, code, options) => {
    expect(await sallyport(['api-keys', 'create', 'x', ...options])).toMatchObject({ code, out: '' })
  })
})

test('apis and keys', async () => {
  expect(await json(['apis', 'list'])).toMatchObject([
    { identifier: 'https://api.example.com', accessTokenFormat: 'jwt' },
  ])
  expect(await json(['apis', 'show', 'https://api.example.com'])).toMatchObject({ scopes: { 'orders:read': 'See' } })
  expect((await sallyport(['apis', 'show', 'https://api.example.com'])).out).toMatch(/^accessTokenTtlSeconds +900$/m)
  expect(await sallyport(['apis', 'show', 'x'])).toMatchObject({ code: 1 })
  expect(await json(['keys', 'list'])).toEqual([])
  expect(await sallyport(['keys', 'rotate'])).toEqual({
    code: 1,
    out: '',
    err: 'There is no key to rotate; the first start makes them.\n',
  })
})

test('keys rotate: by the time they were announced, or at once for who cannot wait', async () => {
  const keyOf = async (state: string) =>
    (await json(['keys', 'list'])).find((key: { state: string }) => key.state === state)?.kid
  for (const state of ['current', 'next'] as const)
    await storeSigningKey(prisma, createSecretKeys([secretKey]), await makeSigningKey('ES256'), {
      alg: 'ES256',
      state,
      now: new Date(),
    })
  const [current, next] = [await keyOf('current'), await keyOf('next')]
  const early = await sallyport(['keys', 'rotate'])
  expect(early).toMatchObject({ code: 1, out: '' })
  expect(early.err).toMatch(
    /^The next ES256 key was announced a moment ago and may sign from \S+Z on; --unannounced does not wait\.$/m,
  )
  const { rotated } = await json(['keys', 'rotate', '--unannounced', '--alg', 'ES256'])
  expect(rotated).toMatchObject([{ alg: 'ES256', retired: current, current: next }])
  expect([await keyOf('retired'), await keyOf('current'), await keyOf('next')]).toEqual([
    current,
    next,
    rotated[0].next,
  ])
  expect(await sallyport(['keys', 'rotate', '--alg', 'HS256'])).toMatchObject({ code: 2, out: '' })
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
