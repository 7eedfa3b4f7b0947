// The process that hashes passwords, as the one beside it sees it: it steps back, it may die, and it never outlives its parent.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createHashing, type Hashing, HashingBusy } from '#src/factors/hashing.ts'
import { checkout, killAll, runNode } from '#test/support/processes.ts'

const parameters = { memoryCost: 8192, timeCost: 1, parallelism: 1, hashLength: 32 }
const slow = { ...parameters, timeCost: 30 } // a tenth of a second
/** One core stays free for who waits for no password. */
const placesAlone = Math.max(1, Math.min(availableParallelism() - 1, 8))
const hashings: Hashing[] = []
let folder: string
/** glibc, which is what reads the wish. */
const keepsMemory =
  process.platform === 'linux' && 'glibcVersionRuntime' in (process.report.getReport() as { header: object }).header

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sallyport-hashing-'))
})
afterEach(() => {
  for (const hashing of hashings.splice(0)) hashing.close()
  killAll()
})
afterAll(() => rm(folder, { recursive: true }))

function hashingWith(source?: string): Hashing {
  const entry = source === undefined ? undefined : join(folder, `${hashings.length}-${Date.now()}.mjs`)
  if (entry && source) writeFileSync(entry, source)
  const hashing = createHashing(entry)
  hashings.push(hashing)
  return hashing
}

/** How a promise ended: its value, or the name of its error. */
const outcomeOf = (promise: Promise<unknown>) =>
  promise.then(
    (value) => value,
    (error: Error) => error.name,
  )

describe('the hashing process', () => {
  test('starts with the first hash, tells right from wrong, and keeps what strings hold', async () => {
    const hashing = hashingWith()
    expect(hashing.pid()).toBeUndefined()
    for (const password of ['', 'plain', 'a\0b', 'Zoë 日本語 😀', '\ud800', 'x'.repeat(1024)]) {
      const hash = await hashing.hash(password, parameters)
      expect(hash).toMatch(/^\$argon2id\$v=19\$m=8192,p=1,t=1\$/)
      expect(await hashing.verify(hash, password)).toBe(true)
      expect(await hashing.verify(hash, `${password}.`)).toBe(false)
    }
  })

  test('a hash that is none is an error of its own, and disturbs nobody', async () => {
    const hashing = hashingWith()
    const [broken, good] = await Promise.all([
      outcomeOf(hashing.verify('no hash', 'x')),
      outcomeOf(hashing.hash('x', parameters)),
    ])
    expect(broken).toBe('Error')
    expect(good).toMatch(/^\$argon2id/)
  })

  test.runIf(process.platform === 'linux')(
    'beside a server every thread of it steps back, in the same session',
    async () => {
      const hashing = hashingWith()
      hashing.standBehind(1)
      await hashing.hash('x', parameters)
      const threads = readdirSync(`/proc/${hashing.pid()}/task`)
      expect(threads.length).toBeGreaterThan(4)
      for (const thread of threads) expect(stat(`/proc/${hashing.pid()}/task/${thread}/stat`)[16]).toBe('10')
      // With autogroups a process in another session competes as if it had never stepped back (sched(7)).
      expect(stat(`/proc/${hashing.pid()}/stat`)[3]).toBe(stat(`/proc/${process.pid}/stat`)[3])
    },
  )

  test.runIf(process.platform === 'linux')(
    'that hashed for the start of the server (its first administrator) is not the one that logins wait for',
    async () => {
      const hashing = hashingWith()
      await hashing.hash('x', parameters)
      const former = hashing.pid()
      hashing.standBehind(1)
      await hashing.hash('x', parameters)
      expect(hashing.pid()).not.toBe(former)
      expect(stat(`/proc/${hashing.pid()}/stat`)[16]).toBe('10')
    },
  )

  test.runIf(process.platform === 'linux')('knows no secret of the server, and shows no password to `ps`', async () => {
    process.env.SECRET_OF_THE_SERVER = 'top secret'
    const hashing = hashingWith()
    const under = hashing.hash('hunter2', slow)
    await expect.poll(() => hashing.pid()).toBeDefined()
    for (const what of ['environ', 'cmdline']) {
      const shown = readFileSync(`/proc/${hashing.pid()}/${what}`, 'utf8')
      expect(shown).not.toMatch(/hunter2|top secret/)
    }
    delete process.env.SECRET_OF_THE_SERVER
    hashing.close()
    await outcomeOf(under)
  })

  test('killed under work: everybody whose work it had is told to come back, nobody that a password is wrong; then it works again', async () => {
    const hashing = hashingWith()
    let ended = 0
    hashing.observe({ hashed: () => undefined, refused: () => undefined, ended: () => ended++ })
    const hash = await hashing.hash('right', slow)
    const pid = hashing.pid() ?? 0
    const attempts = Array.from({ length: availableParallelism() + 3 }, () => outcomeOf(hashing.verify(hash, 'right')))
    await new Promise((resolve) => setTimeout(resolve, 50))
    process.kill(pid, 'SIGKILL')
    const outcomes = await Promise.all(attempts)
    expect(outcomes.filter((outcome) => outcome === 'HashingBusy').length).toBeGreaterThanOrEqual(1)
    expect(outcomes.filter((outcome) => outcome !== 'HashingBusy' && outcome !== true)).toEqual([])
    expect(await hashing.verify(hash, 'right')).toBe(true)
    expect(hashing.pid()).not.toBe(pid)
    expect(ended).toBe(1)
  })

  test('that dies at every start is tried again with pauses: no storm of starts', async () => {
    const hashing = hashingWith('process.exit(1)')
    let ended = 0
    hashing.observe({ hashed: () => undefined, refused: () => undefined, ended: () => ended++ })
    for (let i = 0; i < 100; i++) await expect(hashing.hash('x', parameters)).rejects.toBeInstanceOf(HashingBusy)
    expect(ended).toBeGreaterThanOrEqual(2)
    expect(ended).toBeLessThanOrEqual(3)
  })

  test('a storm is refused at once beyond what may wait', async () => {
    const hashing = hashingWith()
    await hashing.hash('x', parameters)
    const refusedAfter: number[] = []
    const startedAt = performance.now()
    const works = Array.from({ length: 500 }, () =>
      hashing.hash('x', slow).catch((error: Error) => {
        if (error.message.startsWith('too many')) refusedAfter.push(performance.now() - startedAt)
      }),
    )
    expect(hashing.waiting()).toBe(64)
    await new Promise((resolve) => setImmediate(resolve))
    expect(refusedAfter).toHaveLength(500 - 64 - placesAlone)
    expect(() => hashing.expectPlace()).toThrow(HashingBusy)
    hashing.close()
    await Promise.all(works)
  })

  test('a place can be asked for before other work is done for it', async () => {
    const hashing = hashingWith()
    let refused = 0
    hashing.observe({ hashed: () => undefined, refused: () => refused++, ended: () => undefined })
    const works = Array.from({ length: placesAlone + 63 }, () => outcomeOf(hashing.hash('x', parameters)))
    expect(() => hashing.expectPlace()).not.toThrow()
    works.push(outcomeOf(hashing.hash('x', parameters)))
    expect(() => hashing.expectPlace()).toThrow(HashingBusy)
    expect(refused).toBe(1)
    expect((await Promise.all(works)).every((hash) => String(hash).startsWith('$argon2id$'))).toBe(true)
    expect(() => hashing.expectPlace()).not.toThrow()
  })

  test.runIf(keepsMemory)('keeps the memory of its hashes, and returns what a dearer one needed', async () => {
    const hashing = hashingWith()
    const once = { ...parameters, memoryCost: 47_104 }
    const faults = () => Number(stat(`/proc/${hashing.pid()}/stat`)[7])
    for (let n = 0; n < 3; n++) await hashing.hash('x', once)
    const before = faults()
    for (let n = 0; n < 4; n++) await hashing.hash('x', once)
    expect(faults() - before).toBeLessThan(47_104 / 4) // fewer for four of them than one alone would cost otherwise
    const megabytes = () =>
      Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${hashing.pid()}/status`, 'utf8'))?.[1]) / 1024
    await hashing.hash('x', { ...parameters, memoryCost: 262_144 })
    await expect.poll(megabytes).toBeLessThan(200)
  })

  test('ends with a parent that was killed, under work', async () => {
    const program = `
      const { createHashing } = await import('#src/factors/hashing.ts')
      const hashing = createHashing()
      await hashing.hash('x', ${JSON.stringify(parameters)})
      for (let i = 0; i < 4; i++) hashing.hash('x', ${JSON.stringify({ ...slow, timeCost: 1000 })})
      console.log('pid', hashing.pid())`
    const parent = runNode(['--input-type=module', '--eval', program], { cwd: checkout })
    const printed = await parent.prints('pid')
    const pid = Number(printed.split(' ')[1])
    expect(isRunning(pid)).toBe(true)
    parent.child.kill('SIGKILL')
    await expect.poll(() => isRunning(pid), { timeout: 5_000 }).toBe(false)
  })

  test('lets a program end that has its answer, and not before', async () => {
    const program = `
      const { createHashing } = await import('#src/factors/hashing.ts')
      createHashing().hash('x', ${JSON.stringify(parameters)}).then((hash) => console.log(hash))`
    const parent = runNode(['--input-type=module', '--eval', program], { cwd: checkout })
    expect(await parent.ended(10_000)).toEqual({ code: 0, signal: null })
    expect(parent.output()).toMatch(/^\$argon2id\$/)
  })

  test.each(['SIGINT', 'SIGTERM'] as const)('%s at the terminal does not cut a login short', async (signal) => {
    const hashing = hashingWith()
    await hashing.hash('x', parameters)
    const work = hashing.hash('x', slow)
    process.kill(hashing.pid() ?? 0, signal)
    expect(await work).toMatch(/^\$argon2id/)
  })
})

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** The fields after the name of the process (proc_pid_stat(5)). */
function stat(path: string): string[] {
  return readFileSync(path, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
}
