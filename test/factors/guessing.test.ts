// Limits on guessing against a real database, by several processes as far as the database can tell: two pools. The clock is the
// test's.
import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { addressRange } from '#src/address-range.ts'
import { closeDatabase, type Database, openDatabase } from '#src/db/database.ts'
import {
  accountKey,
  accountKeys,
  type Guess,
  type GuessFactor,
  guessFactors,
  liftGuessLimits,
  listGuessLimits,
  observeGuesses,
  type Reservation,
  reserveGuess,
} from '#src/factors/guessing.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { clearAudit } from '#test/support/audit.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, hasPostgres15, type TestDatabase } from '#test/support/database.ts'
import { waitingForLocks } from '#test/support/locks.ts'

const secretKeys = createSecretKeys([Buffer.alloc(32, 1)])
const account = accountKey(secretKeys, 'alice@example.com')
const start = new Date('2026-03-01T12:00:00Z')
const seconds = (count: number) => new Date(start.getTime() + count * 1000)
const change = changeAt()
const minute = 60
const hour = 3600
const day = 86_400

describe.each(hasPostgres15() ? (['embedded', 15] as const) : (['embedded'] as const))('on PostgreSQL %s', (server) => {
  let own: TestDatabase
  let database: Database
  let other: Database
  /** A new one each time: what is about accounts must not run into what is about addresses. */
  let addresses = 0
  beforeAll(async () => {
    own = await createTestDatabase({ server })
    database = own.database
    other = openDatabase(own.url, { poolSize: 10, onError: () => undefined })
  })
  afterAll(async () => {
    await closeDatabase(other)
    await own.drop()
  })
  beforeEach(() => database.pool.query('TRUNCATE guess_limit'))

  const guess = (given: Partial<Guess> = {}, through = database): Promise<Reservation> =>
    reserveGuess(through, {
      factor: 'password',
      account,
      address: `2001:db8:${(addresses++).toString(16)}::1`,
      now: start,
      ...given,
    })
  /** @returns for how long the next try is refused; 0: it is evaluated, and fails. */
  const wrong = async (given: Partial<Guess> = {}, through = database): Promise<number> => {
    const reservation = await guess(given, through)
    return reservation.allowed ? 0 : reservation.retryAfterSeconds
  }
  const right = async (given: Partial<Guess> = {}): Promise<void> => {
    const reservation = await guess(given)
    if (!reservation.allowed) throw new Error(`refused for ${reservation.retryAfterSeconds} s`)
    await reservation.succeed()
  }
  const times = async (count: number, given: Partial<Guess> = {}): Promise<number[]> => {
    const waits: number[] = []
    for (let n = 0; n < count; n++) waits.push(await wrong(given))
    return waits
  }

  test('two hundred parallel guesses over two processes: as many are evaluated as the limit allows', async () => {
    const tries = Array.from({ length: 200 }, (_, n) => wrong({}, n % 2 ? database : other))
    const waits = await Promise.all(tries)
    expect(waits.filter((wait) => wait === 0)).toHaveLength(5)
    expect(new Set(waits)).toEqual(new Set([0, 15 * minute]))
  })

  test('two hundred parallel guesses from one address at as many accounts: a hundred', async () => {
    const tries = Array.from({ length: 200 }, (_, n) =>
      wrong({ account: randomBytes(32), address: '203.0.113.7' }, n % 2 ? database : other),
    )
    const waits = await Promise.all(tries)
    expect(waits.filter((wait) => wait === 0)).toHaveLength(100)
    const { rows } = await database.pool.query(
      `SELECT count(*)::int AS count FROM guess_limit WHERE factor = 'password'`,
    )
    expect(rows, 'a refused try counts nowhere').toEqual([{ count: 100 }])
  })

  test('tries that are reserved in any order and over any factors never wait for each other', async () => {
    const accounts = [1, 2, 3].map((n) => accountKey(secretKeys, `${n}`))
    const tries = Array.from({ length: 300 }, async (_, n) => {
      const given = {
        account: accounts[n % 3],
        address: `203.0.113.${n % 4}`,
        factor: guessFactors[n % 5] as GuessFactor,
      }
      const reservation = await guess(given, n % 2 ? database : other)
      if (reservation.allowed && n % 2 === 0) await reservation.succeed()
      if (n % 5 === 0) await liftGuessLimits(database.prisma, { id: randomUUID(), accounts }, change)
    })
    await Promise.all(tries) // PostgreSQL ends a deadlock with an error
  })

  test('lifting waits for those it saw and leaves those that came meanwhile: it never stands in the way of a try', async () => {
    const [old, late] = [accountKey(secretKeys, 'before'), accountKey(secretKeys, 'after')]
    await wrong({ account: old })
    const held = async (subject: Buffer) => {
      const connection = await other.pool.connect()
      await connection.query('BEGIN')
      await connection.query('SELECT FROM guess_limit WHERE subject = $1 FOR UPDATE', [subject])
      let held = true
      const letGo = async () => {
        if (held) await connection.query('COMMIT').finally(() => connection.release())
        held = false
      }
      onTestFinished(letGo)
      return letGo
    }
    const letGoOld = await held(old)
    const lifting = liftGuessLimits(database.prisma, { id: randomUUID(), accounts: [old, late] }, change)
    await expect.poll(() => waitingForLocks(database)).toBe(1)
    await wrong({ account: late })
    const letGoLate = await held(late)
    await letGoOld()
    expect(await lifting, 'two of the account that was there').toBe(2)
    await letGoLate()
    const { rows } = await database.pool.query<{ subject: Buffer }>(
      `SELECT DISTINCT subject FROM guess_limit WHERE factor = 'all'`,
    )
    expect(rows).toEqual([{ subject: late }])
  })

  test('a right try in time takes the failures back; while the limit is closed it is not even evaluated', async () => {
    expect(await times(4)).toEqual([0, 0, 0, 0])
    await right()
    expect(await times(6)).toEqual([0, 0, 0, 0, 0, 15 * minute])
    await expect(right()).rejects.toThrow('refused')
  })

  test('the wait ends, doubles with each further failure, and never becomes a lock (ASVS 6.1.1)', async () => {
    await times(5)
    let now = 0
    const waits: number[] = []
    for (let n = 5; n < 110; n++) {
      const wait = await wrong({ now: seconds(now) })
      waits.push(wait)
      expect(await wrong({ now: seconds(now + wait - 1) }), `failure ${n}`).toBe(1)
      now += wait
      expect(await wrong({ now: seconds(now) }), `failure ${n}`).toBe(0)
    }
    expect(waits.slice(0, 7)).toEqual([15 * minute, 30 * minute, hour, 2 * hour, 4 * hour, 4 * hour, 4 * hour])
    // NIST SP 800-63B-4 3.2.2: a hundred in a row.
    expect(waits[94]).toBe(4 * hour)
    expect(waits.slice(95)).toEqual(Array(10).fill(day))
    expect(now / day).toBeGreaterThan(14)
    await right({ now: seconds(now + day) })
    expect(await wrong({ now: seconds(now + day) })).toBe(0)
  })

  test('failures below the limit are forgotten after a day without one, those beyond it after thirty', async () => {
    await times(4)
    expect(await wrong({ now: seconds(day) })).toBe(0)
    expect(await listGuessLimits(database.prisma, [account], seconds(day))).toMatchObject([
      { factor: 'all', failures: 1 },
      { factor: 'password', failures: 1 },
    ])
    await times(4, { now: seconds(day) })
    expect(await wrong({ now: seconds(30 * day) })).toBe(0)
    expect(await wrong({ now: seconds(30 * day + 1) })).toBe(30 * minute - 1)
    expect(await wrong({ now: seconds(61 * day) })).toBe(0)
    expect(await wrong({ now: seconds(61 * day) })).toBe(0)
  })

  test('a process whose clock runs ahead closes nothing for the others', async () => {
    const address = '203.0.113.80'
    expect(await wrong({ address, now: seconds(90) }, other)).toBe(0)
    expect(await wrong({ address })).toBe(0)
  })

  describe('every factor counts under its own name', () => {
    test.each(guessFactors)('%s: five, then a wait, and the others stay open', async (factor) => {
      expect(await times(6, { factor })).toEqual([0, 0, 0, 0, 0, 15 * minute])
      expect(await wrong({ factor: factor === 'totp' ? 'password' : 'totp' })).toBe(0)
    })

    test('and all of them together: who turns from one to the next does not begin anew (CVE-2025-64102)', async () => {
      const waits: number[] = []
      for (const factor of ['password', 'totp', 'recovery_code', 'email_code', 'sms_code'] as const)
        waits.push(...(await times(5, { factor })))
      expect(waits).toEqual([...Array(20).fill(0), ...Array(5).fill(15 * minute)])
    })

    test('a factor that succeeds takes back its own failures only: knowing the password buys no guesses at the code', async () => {
      for (let n = 0; n < 5; n++) {
        await right()
        expect(await wrong({ factor: 'totp' })).toBe(0)
      }
      await right()
      expect(await wrong({ factor: 'totp' })).toBe(15 * minute)
      expect(await listGuessLimits(database.prisma, [account], start)).toMatchObject([
        { factor: 'all', failures: 5 },
        { factor: 'totp', failures: 5 },
      ])
    })
  })

  test('an attacker locks out strangers, never the device that its owner knows (GHSA-cq42-vhv7-xr7p)', async () => {
    const device = randomBytes(16)
    const address = '203.0.113.9' // the same line, even
    const victim = { device, address }
    await times(200, { address })
    await times(120, { address, account: undefined, factor: 'setup_code' })
    expect(await wrong({ address })).toBeGreaterThan(0)
    await right(victim)
    // It has a budget of its own, with a wait of its own.
    expect(await times(11, victim)).toEqual([...Array(10).fill(0), minute])
    expect(await wrong({ device: randomBytes(16), address })).toBe(0)
    await right({ ...victim, now: seconds(minute) })
  })

  test('the failures of a known device do not count against strangers', async () => {
    await times(15, { device: randomBytes(16) })
    expect(await times(6)).toEqual([0, 0, 0, 0, 0, 15 * minute])
  })

  describe('an address', () => {
    const from = (address: string | undefined, count: number, now = start) =>
      times(count, { address, account: undefined, factor: 'setup_code', now })

    test('may fail a hundred times in a window of fifteen minutes, which ends', async () => {
      expect((await from('198.51.100.1', 101)).at(-1)).toBe(15 * minute)
      expect(await from('198.51.100.1', 1, seconds(15 * minute - 1))).toEqual([1])
      expect(await from('198.51.100.2', 1)).toEqual([0])
      expect(await from('198.51.100.1', 1, seconds(15 * minute))).toEqual([0])
    })

    test('is counted in windows that do not move: slow failures of many people never close it', async () => {
      await from('198.51.100.3', 50)
      await from('198.51.100.3', 49, seconds(14 * minute))
      expect(await from('198.51.100.3', 2, seconds(15 * minute))).toEqual([0, 0])
    })

    test('is the /64 it comes from: whoever has one has all of it', async () => {
      for (let n = 0; n < 100; n++) await from(`2001:db8:1:2:${n.toString(16)}::${n.toString(16)}`, 1)
      expect(await from('2001:db8:1:2:ffff::', 1)).toEqual([15 * minute])
      expect(await from('2001:db8:1:3::', 1)).toEqual([0])
    })

    test('is not washed clean by an account of one’s own: a success takes back its own try only', async () => {
      const address = '198.51.100.9'
      for (let n = 0; n < 100; n++) {
        await from(address, 1)
        if (n % 10 === 0) await right({ address, account: randomBytes(32) })
      }
      expect(await from(address, 1)).toEqual([15 * minute])
    })

    test.each([
      ['192.0.2.1', '192.0.2.1'],
      ['::ffff:192.0.2.1', '192.0.2.1'],
      ['2001:db8::1', '2001:db8:0:0::/64'],
      ['2001:0DB8:0000:0000:1:2:3:4', '2001:db8:0:0::/64'],
      ['1:2:3:4:5:6:7:8', '1:2:3:4::/64'],
      ['::1', '0:0:0:0::/64'],
      ['fe80::1%eth0', 'fe80:0:0:0::/64'],
      [undefined, 'unknown'],
      ['not an address', 'unknown'],
    ])('%s is %s', (address, range) => expect(addressRange(address)).toBe(range))
  })

  test('many failures everywhere tighten what an address may do, and close nothing by themselves', async () => {
    await times(1, { account: undefined, factor: 'setup_code' })
    await database.pool.query(`UPDATE guess_limit SET failures = 2000 WHERE factor = 'everyone'`)
    expect(await wrong({ address: '203.0.113.50' }), 'nobody is locked out by what others do').toBe(0)
    const waits = await times(21, { address: '203.0.113.51', account: undefined, factor: 'setup_code' })
    expect(waits).toEqual([...Array(20).fill(0), 15 * minute])
  })

  test('a try that was not evaluated after all is given back, and what it closed is open', async () => {
    await times(4)
    const busy = await guess()
    if (!busy.allowed) throw new Error('refused')
    expect(await wrong()).toBe(15 * minute)
    await busy.release()
    expect(await times(2)).toEqual([0, 15 * minute])
    const { rows } = await database.pool.query(`SELECT failures FROM guess_limit WHERE factor = 'everyone'`)
    expect(rows).toEqual([{ failures: 5 }])
  })

  test('the try that closes a limit says so, once; those who are refused have nothing to record', async () => {
    const closing = async (given: Partial<Guess> = {}) => {
      const reservation = await guess(given)
      return reservation.allowed ? reservation.closes : 'refused'
    }
    const address = '203.0.113.77'
    for (let n = 0; n < 4; n++) expect(await closing({ address })).toEqual([])
    expect(await closing({ address })).toEqual([{ limit: 'account', seconds: 15 * minute }])
    expect(await closing({ address })).toBe('refused')
    await times(94, { address, account: undefined })
    expect(await closing({ address, account: undefined })).toEqual([{ limit: 'address', seconds: 15 * minute }])
    await database.pool.query(`UPDATE guess_limit SET failures = 1999 WHERE factor = 'everyone'`)
    expect(await closing({ account: undefined })).toEqual([{ limit: 'everyone', seconds: 0 }])
    expect(await closing({ account: undefined })).toEqual([])
  })

  test('is counted by factor for who watches', async () => {
    const limited: string[] = []
    observeGuesses(other.pool, (factor) => limited.push(factor))
    await times(5, { factor: 'totp' })
    await wrong({ factor: 'totp' }, other)
    await wrong({ factor: 'password' }, other)
    expect(limited).toEqual(['totp'])
  })

  test('what counts against an account can be seen and lifted, on every device and under every key', async () => {
    const before = createSecretKeys([Buffer.alloc(32, 2)])
    const rotated = createSecretKeys([Buffer.alloc(32, 1), Buffer.alloc(32, 2)])
    const accounts = accountKeys(rotated, 'alice@example.com')
    await times(6)
    await times(2, { device: randomBytes(16), now: seconds(1) })
    await times(1, { account: accountKey(before, 'alice@example.com'), now: seconds(2) })
    await times(3, { account: accountKey(secretKeys, 'bob@example.com') })
    expect(await listGuessLimits(database.prisma, accounts, seconds(3))).toEqual([
      { factor: 'all', knownDevice: false, failures: 1, lastAt: seconds(2), closedUntil: null, reached: false },
      { factor: 'password', knownDevice: false, failures: 1, lastAt: seconds(2), closedUntil: null, reached: false },
      { factor: 'all', knownDevice: true, failures: 2, lastAt: seconds(1), closedUntil: null, reached: false },
      { factor: 'password', knownDevice: true, failures: 2, lastAt: seconds(1), closedUntil: null, reached: false },
      { factor: 'all', knownDevice: false, failures: 5, lastAt: start, closedUntil: null, reached: false },
      {
        factor: 'password',
        knownDevice: false,
        failures: 5,
        lastAt: start,
        closedUntil: seconds(15 * minute),
        reached: true,
      },
    ])
    const user = { id: randomUUID(), accounts }
    await clearAudit(database)
    expect(await liftGuessLimits(database.prisma, user, change)).toBe(6)
    expect(await liftGuessLimits(database.prisma, user, change), 'there is nothing left').toBe(0)
    expect(await listGuessLimits(database.prisma, accounts, start)).toEqual([])
    expect(await wrong()).toBe(0)
    expect(await database.prisma.auditEvent.findMany()).toMatchObject([
      { event: 'user.unlocked', targetKind: 'user', targetId: user.id, detail: { limits: 6 } },
    ])
    expect(await listGuessLimits(database.prisma, accountKeys(rotated, 'bob@example.com'), start)).toHaveLength(2)
  })

  test('no row tells who was meant, or holds what was typed', async () => {
    await wrong({ account: accountKey(secretKeys, 'my password in the wrong field') })
    const { rows } = await database.pool.query(`SELECT string_agg(guess_limit::text, ' ') AS text FROM guess_limit`)
    const bytes = Buffer.from('my password').toString('hex')
    expect(rows[0].text).not.toContain(bytes)
    expect(rows[0].text).not.toContain('my password')
  })
})
