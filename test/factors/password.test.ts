import { execFile } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import argon2 from 'argon2'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { readConfig } from '#src/config.ts'
import type { Database } from '#src/db/database.ts'
import { BreachedPasswordsUnusable, openBreachedPasswords } from '#src/factors/breached-passwords.ts'
import { hashPassword, isPasswordHash, verifyPassword } from '#src/factors/password.ts'
import { checkPassword } from '#src/factors/password-rules.ts'
import { settlePasswords } from '#src/factors/password-settings.ts'
import { createWorkQueue, QueueFull } from '#src/factors/work-queue.ts'
import { createUser, setUserDisabled } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const password = 'correct horse battery staple'
const directory = mkdtempSync(join(tmpdir(), 'sallyport-passwords-'))
let created: TestDatabase
let db: Database['prisma']

beforeAll(async () => {
  created = await createTestDatabase()
  db = created.database.prisma
})
afterAll(async () => {
  await created.drop()
  rmSync(directory, { recursive: true })
})

async function person(email: string, plain = password) {
  return createUser(db, { email, passwordHash: await hashPassword(plain) }, change)
}
const wrong = { ok: false, reason: 'wrong_credentials' }

describe('verifyPassword', () => {
  test('knows the right password, by the address in any case', async () => {
    const { id } = await person('right@example.com')
    expect(await verifyPassword(db, { identifier: ' RIGHT@example.com', password })).toEqual({ ok: true, userId: id })
  })

  test('wrong password, unknown and impossible addresses, no password, disabled: one answer', async () => {
    const { id } = await person('off@example.com')
    await setUserDisabled(db, id, true, change)
    await person('on@example.com')
    await createUser(db, { email: 'none@example.com' }, change)
    for (const attempt of [
      { identifier: 'on@example.com', password: `${password}r` },
      { identifier: 'on@example.com', password: '' },
      { identifier: 'on@example.com', password: password.toUpperCase() },
      { identifier: 'off@example.com', password },
      { identifier: 'none@example.com', password },
      { identifier: 'nobody@example.com', password },
      { identifier: '', password },
      { identifier: 'a\0b', password },
      { identifier: '\ud800', password },
      { identifier: 'x'.repeat(5000), password },
    ])
      expect(await verifyPassword(db, attempt)).toEqual(wrong)
  })

  test('compares every character up to 256, none beyond, in NFC (ASVS 6.2.8, NIST 800-63B-4)', async () => {
    for (const plain of [
      'a'.repeat(72),
      `${'a'.repeat(72)}b`,
      'pass\0word and more',
      '\u0065\u0301'.repeat(20),
      'p'.repeat(256),
      '😀'.repeat(256),
    ]) {
      const email = `n${Math.random()}@example.com`
      await person(email, plain)
      expect(await verifyPassword(db, { identifier: email, password: plain })).toMatchObject({ ok: true })
      expect(await verifyPassword(db, { identifier: email, password: plain.normalize('NFC') })).toMatchObject({
        ok: true,
      })
      expect(
        await verifyPassword(db, { identifier: email, password: [...plain.normalize('NFC')].slice(0, -1).join('') }),
      ).toEqual(wrong)
    }
    for (const length of [257, 1_000_000])
      expect(await verifyPassword(db, { identifier: 'on@example.com', password: 'p'.repeat(length) })).toEqual({
        ok: false,
        reason: 'too_long',
      })
  })

  test('rehashes at login when the parameters were raised, without ending sessions', async () => {
    const old = await argon2.hash(password, { memoryCost: 19_456, timeCost: 2, parallelism: 1 })
    const { id, generation } = await createUser(db, { email: 'old@example.com', passwordHash: old }, change)
    await verifyPassword(db, { identifier: 'old@example.com', password: 'wrong' })
    expect(await secretOf(id)).toBe(old)
    expect(await verifyPassword(db, { identifier: 'old@example.com', password })).toMatchObject({ ok: true })
    expect(await secretOf(id)).toMatch(/^\$argon2id\$v=19\$m=47104,p=1,t=1\$/)
    expect(await verifyPassword(db, { identifier: 'old@example.com', password })).toMatchObject({ ok: true })
    expect(await db.user.findUnique({ where: { id } })).toMatchObject({ generation })
  })

  test('says busy instead of queueing without bound', async () => {
    const attempts = Array.from({ length: 90 }, () =>
      verifyPassword(db, { identifier: 'nobody@example.com', password: 'x' }),
    )
    const verdicts = await Promise.all(attempts)
    const busy = verdicts.filter((verdict) => !verdict.ok && verdict.reason === 'busy').length
    expect(busy).toBeGreaterThanOrEqual(1)
    expect(busy).toBeLessThanOrEqual(90 - 64)
    expect(await verifyPassword(db, { identifier: 'nobody@example.com', password: 'x' })).toEqual(wrong)
  })
})

const secretOf = async (userId: string) => (await db.credential.findFirst({ where: { userId } }))?.secret

test('a hash is argon2id with m=46 MiB, t=1, p=1 and its own salt (ASVS 11.4.2)', async () => {
  const [one, two] = [await hashPassword(password), await hashPassword(password)]
  expect(one).toMatch(/^\$argon2id\$v=19\$m=47104,p=1,t=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  expect(one).not.toBe(two)
  expect(isPasswordHash(one)).toBe(true)
})

describe('what the operator settles', () => {
  const settle = (given: Parameters<typeof readConfig>[0]) => settlePasswords(readConfig(given))
  afterEach(() => settle({}))

  test('a higher cost counts from the next hash on, and rehashes at login (ASVS 11.4.2)', async () => {
    const { id } = await person('dearer@example.com')
    settle({ PASSWORD_HASH_MEMORY_KIB: '65536', PASSWORD_HASH_TIME_COST: '2' })
    expect(await hashPassword(password)).toMatch(/^\$argon2id\$v=19\$m=65536,p=1,t=2\$/)
    expect(await verifyPassword(db, { identifier: 'dearer@example.com', password })).toMatchObject({ ok: true })
    expect(await secretOf(id)).toMatch(/^\$argon2id\$v=19\$m=65536,p=1,t=2\$/)
  })

  test('the name of the installation is as personal as the product’s (ASVS 6.2.11)', () => {
    const plain = 'lighthouse-lighthouse'
    expect(checkPassword(plain, [])).toEqual([])
    settle({ ISSUER_URL: 'https://id.lighthouse.example' })
    expect(checkPassword(plain, [])).toMatchObject([{ code: 'personal' }])
    expect(checkPassword('sallyport-sallyport', [])).toMatchObject([{ code: 'personal' }])
  })

  test('published passwords are refused, when there is a file of them', () => {
    const stolen = 'perfectly fine until it was stolen'
    expect(checkPassword(stolen, [])).toEqual([])
    settle({ BREACHED_PASSWORDS_FILE: breachedFile([stolen, 'another one that was']) })
    expect(checkPassword(stolen, [])).toMatchObject([{ code: 'breached' }])
    expect(checkPassword(`${stolen}!`, [])).toEqual([])
  })
})

describe('a file of published passwords', () => {
  const some = Array.from({ length: 20_000 }, (_, n) => `stolen password ${n}`)

  test.each([
    ['as the downloader writes it', { counts: true, end: '\r\n', digits: 40 }],
    ['without counts', { counts: false, end: '\n', digits: 40 }],
    ['in small letters and shortened', { counts: true, end: '\n', digits: 16, small: true }],
  ])('%s: each is found, its neighbours are not', (_what, form) => {
    const breached = openBreachedPasswords(breachedFile(some, form))
    for (const password of some) expect(breached.has(password), password).toBe(true)
    for (let n = 0; n < 2_000; n++) expect(breached.has(`kept password ${n}`)).toBe(false)
  })

  test('of one line, of two, and without an end to the last', () => {
    for (const count of [1, 2, 3]) {
      const path = breachedFile(some.slice(0, count))
      writeFileSync(path, readFileSync(path, 'utf8').trimEnd())
      const breached = openBreachedPasswords(path)
      expect(some.slice(0, 5).map((password) => breached.has(password))).toEqual([0, 1, 2, 3, 4].map((n) => n < count))
    }
  })

  test.each([
    ['that is not there', () => join(directory, 'none'), 'cannot be read'],
    ['that is a folder', () => directory, /is not a file|cannot be read/],
    ['that is empty', () => fileOf(''), 'does not hold'],
    ['of passwords in clear', () => fileOf('password\n123456\n'), 'does not hold'],
    ['of hashes of another kind', () => fileOf(`${'a'.repeat(64)}\n`), 'does not hold'],
    ['of something that ends in a hash', () => fileOf(`hello\n${'a'.repeat(40)}\n`), 'does not hold'],
    ['that is sorted by count', () => fileOf(`${'F'.repeat(40)}:9\n${'A'.repeat(40)}:1\n`), 'is not sorted'],
  ])('%s stops the start with a sentence', (_what, path, problem) => {
    const open = () => openBreachedPasswords(path())
    expect(open).toThrow(BreachedPasswordsUnusable)
    expect(open).toThrow(problem)
    expect(open).toThrow('BREACHED_PASSWORDS_FILE')
  })
})

function fileOf(text: string): string {
  const path = join(directory, randomUUID())
  writeFileSync(path, text)
  return path
}

function breachedFile(
  passwords: string[],
  form: { counts: boolean; end: string; digits: number; small?: boolean } = { counts: true, end: '\r\n', digits: 40 },
): string {
  const hashes = passwords.map((plain) => createHash('sha1').update(plain).digest('hex').toUpperCase()).sort()
  const lines = hashes.map((hash, n) => {
    const shown = hash.slice(0, form.digits)
    return (form.small ? shown.toLowerCase() : shown) + (form.counts ? `:${n ** 2}` : '') + form.end
  })
  return fileOf(lines.join(''))
}

test.each([
  [''],
  ['$2b$10$abcdefghijklmnopqrstuv'],
  ['$argon2i$v=19$m=47104,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA'],
  ['$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA'], // 4 GiB
  ['$argon2id$v=19$m=47104,t=99,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA'],
  ['$argon2id$v=19$m=47104,t=1,p=1,keyid=x$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA'],
  ['$argon2id$v=19$m=47104,t=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA'],
])('a foreign or ruinous hash is refused: %s', (text) => expect(isPasswordHash(text)).toBe(false))

describe('checkPassword', () => {
  test.each([
    [password],
    ['völlig beliebige Wörter 日本語'],
    ['                 x      y '],
    ['alice in wonderland, again and again'],
    ['a😀b😀c😀d😀e😀f😀g😀h'],
  ])('takes %j: length counts, composition does not (ASVS 6.2.5)', (plain) =>
    expect(checkPassword(plain, ['alice@example.com', 'Alice Liddell'])).toEqual([]),
  )
  test.each([
    ['', 'too_short'],
    ['fourteen chars', 'too_short'],
    ['e\u0301'.repeat(14), 'too_short'],
    ['x'.repeat(257), 'too_long'],
    ['x'.repeat(10_000_000), 'too_long'],
    ['aaaaaaaaaaaaaaaaaaaa', 'repetitive'],
    ['abababababababababab', 'repetitive'],
    ['AbAbAbAbabababab', 'repetitive'],
    ['123412341234123412', 'repetitive'],
    ['1234567890123456', 'repetitive'],
    ['9876543210987654', 'repetitive'],
    ['abcdefghijklmnopq', 'repetitive'],
    ['qwertyuiopasdfgh', 'repetitive'],
    ['alice@example.com', 'personal'],
    ['Alice.Liddell123', 'personal'],
    ['sallyport-sallyport', 'personal'],
    ['Sallyport2026!!!!', 'personal'],
    ['polniypizdec0211', 'common'],
    ['MomsAnaLadventure', 'common'],
    ['baseball-2026-2026', 'common'],
    ['!!!!!Trustno1!!!!!!', 'common'],
    ['long enough \ud800 and broken', 'unusable'],
    ['long enough \0 and cut short', 'unusable'],
  ])('refuses %j (ASVS 6.2.1, 6.2.11)', (plain, code) =>
    expect(checkPassword(plain, ['alice@example.com', 'Alice Liddell']).map((flaw) => flaw.code)).toEqual([code]),
  )
})

describe('beside another factor', () => {
  const check = (plain: string) =>
    checkPassword(plain, ['ana@comfort.example', 'Ana Li'], { besideAnother: true }).map(({ code }) => code)
  test.each([['kelp9 or'], ['vierzehn'], ['comsat9x'], ['日本語の合言葉です']])(
    '%j is long enough (ASVS 6.2.1)',
    (plain) => expect(check(plain)).toEqual([]),
  )
  test.each([
    ['seven 7', 'too_short_beside_another'],
    ['baseball', 'common'],
    ['Baseball1', 'common'],
    ['12345678', 'repetitive'],
    ['comfort1', 'personal'],
    ['q1w2e3r4', 'common'],
  ])('%j is refused as %s', (plain, code) => expect(check(plain)).toEqual([code]))
})

test('every common password that is long enough is refused (ASVS 6.2.4)', () => {
  const { dictionary } = createRequire(import.meta.url)('@zxcvbn-ts/language-common')
  const common: string[] = dictionary['passwords-common']
  expect(common).toHaveLength(49_233)
  const long = common.filter((plain) => plain.length >= 8)
  expect(long.length).toBeGreaterThan(17_000)
  expect(long.filter((plain) => checkPassword(plain, [], { besideAnother: true }).length === 0)).toEqual([])
})

test('the list is not read before a password is chosen', async () => {
  const program = `import { verifyPassword } from '#src/factors/password.ts'
    import { checkPassword } from '#src/factors/password-rules.ts'
    import { createRequire } from 'node:module'
    const read = () => Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes('passwords.json')).length
    const before = read()
    checkPassword('five words nobody would guess', [])
    process.stdout.write(JSON.stringify([typeof verifyPassword, before, read()]))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module-typescript', '-e', program])
  expect(JSON.parse(stdout)).toEqual(['function', 0, 1])
})

test('the queue runs so many at once, in order, and hands places over after failures', async () => {
  const queue = createWorkQueue({ running: 2, waiting: 3 })
  const started: number[] = []
  const finish: (() => void)[] = []
  const work = (n: number) => () => {
    started.push(n)
    return new Promise<void>((resolve, reject) => finish.push(n === 1 ? () => reject(new Error('failed')) : resolve))
  }
  const results = [1, 2, 3, 4, 5].map((n) =>
    queue(work(n)).then(
      () => n,
      () => `failed ${n}`,
    ),
  )
  await expect(queue(work(6))).rejects.toBeInstanceOf(QueueFull)
  expect(started).toEqual([1, 2])
  for (let done = 0; done < 5; done++) {
    finish[done]?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(await Promise.all(results)).toEqual(['failed 1', 2, 3, 4, 5])
  expect(started).toEqual([1, 2, 3, 4, 5])
})
