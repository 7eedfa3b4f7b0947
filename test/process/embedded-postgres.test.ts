// The embedded PostgreSQL from outside: what a person at the terminal, a kill -9 and a neighbour on the machine see.
import fs from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { checkout, gone, killAll, processesWith, type Running, runCommand, runNode } from '#test/support/processes.ts'

const asRoot = userInfo().uid === 0
const script = join(checkout, 'test/support/embedded-server.ts')
let directory: string

beforeEach(() => {
  directory = fs.mkdtempSync(join(tmpdir(), 'sallyport-embedded-'))
  fs.chmodSync(directory, 0o755)
})

afterEach(async () => {
  killAll()
  await gone(directory)
  removeWithDatabase(directory)
})

/** A folder closed to the server's account has its database elsewhere. */
function removeWithDatabase(dataDir: string): void {
  const home = join(dataDir, 'postgres')
  if (fs.existsSync(home)) fs.rmSync(fs.realpathSync(home), { recursive: true })
  fs.rmSync(dataDir, { recursive: true, force: true })
}

async function start(
  dataDir = directory,
  options: { uid?: number; gid?: number } = {},
): Promise<Running & { url: string }> {
  const running = runNode([script, dataDir], { ...options, cwd: '/' })
  const printed = await running.prints('\n')
  if (!printed.startsWith('postgresql://')) throw new Error(printed)
  return { ...running, url: printed.trim() }
}

async function stop(running: Running): Promise<void> {
  running.child.kill('SIGTERM')
  expect(await running.ended()).toEqual({ code: 0, signal: null })
}

async function query(url: string, text: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query({ text, rowMode: 'array' })).rows.flat()
  } finally {
    await client.end()
  }
}

test('keeps its data from one start to the next, in UTF-8 and the C locale', async () => {
  const first = await start()
  await query(first.url, 'CREATE TABLE kept (name text)')
  await query(first.url, "INSERT INTO kept VALUES ('Zoë')")
  await stop(first)

  const second = await start()
  expect(await query(second.url, 'SELECT name FROM kept')).toEqual(['Zoë'])
  expect(
    await query(
      second.url,
      'SELECT pg_encoding_to_char(encoding), datcollate FROM pg_database WHERE datname = current_database()',
    ),
  ).toEqual(['UTF8', 'C'])
  await stop(second)
})

test('leaves no process, socket or pid file behind after a stop', async () => {
  await stop(await start())
  expect(processesWith(directory)).toEqual([])
  expect(fs.readdirSync(join(directory, 'postgres', 'socket'))).toEqual([])
  expect(fs.existsSync(join(directory, 'postgres', 'data', 'postmaster.pid'))).toBe(false)
})

test('ends within five seconds of a kill -9, with a connection open, and starts again', async () => {
  const first = await start()
  await query(first.url, 'CREATE TABLE kept AS SELECT 1 AS one')
  const idle = new pg.Client({ connectionString: first.url })
  idle.on('error', () => undefined) // it is cut, which is the point
  await idle.connect()
  first.child.kill('SIGKILL')
  await gone(directory, 5_000)

  const second = await start()
  expect(await query(second.url, 'SELECT one FROM kept')).toEqual([1])
  await stop(second)
})

test('survives the signals of a terminal and of a machine that shuts down: only its user ends it', async () => {
  const running = await start()
  const [guardian] = processesWith(directory).filter((line) => line.includes('guardian.ts'))
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.kill(Number.parseInt(guardian ?? '', 10), signal)
  expect(await query(running.url, 'SELECT 1')).toEqual([1])
  await stop(running)
})

test('stops the server itself when the guardian was killed', async () => {
  const running = await start()
  const [guardian] = processesWith(directory).filter((line) => line.includes('guardian.ts'))
  process.kill(Number.parseInt(guardian ?? '', 10), 'SIGKILL')
  expect(await query(running.url, 'SELECT 1')).toEqual([1])
  await stop(running)
  await gone(directory)
})

test('starts over a pid file whose process is gone, and over one whose number is another program by now', async () => {
  await stop(await start())
  const data = join(directory, 'postgres', 'data')
  const { uid, gid } = fs.statSync(data)
  const other = runCommand('sleep', ['60'], { uid, gid, cwd: '/' }) // of the server's account: another's it would not mind
  for (const pid of [4_194_300, other.child.pid]) {
    fs.writeFileSync(join(data, 'postmaster.pid'), `${pid}\n${data}\n1\n5432\n/nowhere\n\n\nready   \n`)
    fs.chownSync(join(data, 'postmaster.pid'), uid, gid)
    await stop(await start())
  }
  expect(other.child.exitCode).toBe(null)
})

test('a second start in the same folder is told that the first is running, and leaves it alone', async () => {
  const first = await start()
  const second = runNode([script, directory])
  expect(await second.ended()).toMatchObject({ code: 1 })
  expect(second.output()).toMatch(/^EmbeddedPostgresFailed: The database of .* is already running \(process \d+\)/)
  expect(await query(first.url, 'SELECT 1')).toEqual([1])
  await stop(first)
})

test('of two first starts at once, one runs and the other says why not', async () => {
  const both = [runNode([script, directory]), runNode([script, directory])]
  const printed = await Promise.all(both.map((running) => running.prints('\n')))
  expect(printed.filter((text) => text.startsWith('postgresql://'))).toHaveLength(1)
  expect(printed.filter((text) => text.includes('already running'))).toHaveLength(1)
  for (const { child } of both) child.kill('SIGTERM')
})

test('asks for the password, which only its owner can read, and listens on nothing but its socket', async () => {
  const running = await start()
  expect(fs.statSync(join(directory, 'postgres', 'password')).mode & 0o777).toBe(0o600)
  expect(fs.statSync(join(directory, 'postgres', 'socket')).mode & 0o777).toBe(0o700)
  expect(fs.statSync(join(directory, 'postgres', 'data')).mode & 0o777).toBe(0o700)
  const wrong = new URL(running.url)
  wrong.password = 'wrong'
  await expect(query(wrong.href, 'SELECT 1')).rejects.toMatchObject({ code: '28P01' })
  expect(await query(running.url, 'SHOW listen_addresses')).toEqual([''])
  await stop(running)
})

test('under a path too long for a socket the socket moves, and its folder goes away with the server, also after kill -9', async () => {
  const long = join(directory, 'x'.repeat(120))
  const running = await start(long)
  const socket = new URL(running.url).searchParams.get('host') ?? ''
  expect(socket).toMatch(/^\/tmp\/sallyport-/)
  expect(await query(running.url, 'SELECT 1')).toEqual([1])
  running.child.kill('SIGKILL')
  await gone(long)
  expect(fs.existsSync(socket)).toBe(false)
})

test('names the folder when its database is gone', async () => {
  fs.symlinkSync('/var/lib/sallyport/data-that-is-gone', join(directory, 'postgres'))
  await expect(start()).rejects.toThrow(/is a link to \/var\/lib\/sallyport\/data-that-is-gone, which is gone/)
  fs.rmSync(join(directory, 'postgres'))
})

describe.runIf(asRoot)('as root', () => {
  test('runs the server as an account without privileges', async () => {
    const running = await start()
    const { uid } = fs.statSync(join(directory, 'postgres', 'data'))
    expect(uid).not.toBe(0)
    expect(
      fs.statSync(
        `/proc/${
          processesWith(directory)
            .find((line) => line.includes('/postgres -D'))
            ?.trim()
            .split(' ')[0]
        }`,
      ).uid,
    ).toBe(uid)
    await stop(running)
  })

  test('in a folder closed to that account the database lives in /var/lib/sallyport, and the link says where', async () => {
    fs.chmodSync(directory, 0o700)
    const first = await start()
    const home = fs.readlinkSync(join(directory, 'postgres'))
    expect(home).toMatch(/^\/var\/lib\/sallyport\/data-/)
    expect(fs.readFileSync(join(home, 'belongs-to'), 'utf8')).toBe(`${directory}\n`)
    await query(first.url, 'CREATE TABLE kept AS SELECT 1 AS one')
    await stop(first)
    const second = await start()
    expect(await query(second.url, 'SELECT one FROM kept')).toEqual([1])
    expect(fs.readlinkSync(join(directory, 'postgres'))).toBe(home)
    second.child.kill('SIGKILL')
    await gone(home, 5_000)
  })

  test('refuses a database that another user made', async () => {
    fs.chownSync(directory, 65_534, 65_534)
    fs.mkdirSync(join(directory, 'postgres'))
    fs.chownSync(join(directory, 'postgres'), 65_534, 65_534)
    await expect(start()).rejects.toThrow(/was made by another user \(uid 65534\)/)
  })

  test('as an ordinary user everything belongs to that user and no other may enter', async (context) => {
    // A checkout below a closed folder cannot be run by anybody else: the test of `npm start` copies one for that.
    const account = { uid: 65_534, gid: 65_534 }
    for (let folder = script; folder !== dirname(folder); folder = dirname(folder))
      if (!(fs.statSync(dirname(folder)).mode & 0o001)) return context.skip('the checkout is closed to other users')
    fs.chownSync(directory, account.uid, account.gid)
    const running = await start(directory, account)
    const home = fs.statSync(join(directory, 'postgres'))
    expect([home.uid, home.mode & 0o777]).toEqual([account.uid, 0o700])
    running.child.kill('SIGKILL')
    await gone(directory, 5_000)
  })
})
