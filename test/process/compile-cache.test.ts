// What Node compiled is kept beside the sources (docs/decisions/016): it helps where it can, and is never needed.
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { checkout, freePort, killAll, type Running, runCommand, runNode } from '#test/support/processes.ts'

let db: TestDatabase
let installation: string

beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())

/** One of its own: what is spoilt here must not be what other tests run. */
beforeEach(() => {
  installation = fs.mkdtempSync(join(tmpdir(), 'sallyport-compiled-'))
  for (const name of ['src', 'views', 'prisma', 'package.json'])
    fs.cpSync(join(checkout, name), join(installation, name), { recursive: true })
  fs.mkdirSync(join(installation, 'node_modules'))
  for (const name of fs.readdirSync(join(checkout, 'node_modules')))
    if (!name.startsWith('.'))
      fs.symlinkSync(join(checkout, 'node_modules', name), join(installation, 'node_modules', name))
})
afterEach(() => {
  killAll()
  fs.rmSync(installation, { recursive: true, force: true })
})

const cache = () => join(installation, 'node_modules/.cache/sallyport')
const run = (args: string[], env: Record<string, string> = {}) =>
  runNode(['src/sallyport.mjs', ...args], { cwd: installation, env })

/** Starts the server and stops it again. Node tells in the output what it took from the cache. */
async function startAndStop(env: Record<string, string> = {}): Promise<string> {
  const port = String(await freePort())
  const running: Running = run(['start'], {
    DATABASE_URL: db.url,
    SECRET_KEY: randomBytes(32).toString('base64url'),
    PORT: port,
    ISSUER_URL: `http://localhost:${port}`,
    NODE_DEBUG_NATIVE: 'COMPILE_CACHE',
    ...env,
  })
  await running.prints('"event":"server.started"')
  running.child.kill('SIGTERM')
  expect(await running.ended()).toEqual({ code: 0, signal: null })
  return running.output()
}

const taken = (output: string) =>
  [...output.matchAll(/V8 code cache for \w+ (\S+) was accepted/g)].map(([, file]) => file)

test('a start keeps what was compiled, workers included, and the next one takes it', async () => {
  const env = { SECRET_KEY: randomBytes(32).toString('base64url'), WORKERS: '2' }
  expect(taken(await startAndStop(env))).not.toContain(`file://${installation}/src/main.ts`)
  const next = taken(await startAndStop(env))
  for (const file of ['cli/program.ts', 'main.ts', 'workers.ts'])
    expect(next).toContain(`file://${installation}/src/${file}`)
  expect(next.filter((file) => file === `file://${installation}/src/serving.ts`)).toHaveLength(2) // only workers load it
  expect(fs.readdirSync(cache())).toHaveLength(1)
})

test('nobody else may write to what is kept, whatever the umask says', async () => {
  const running = runCommand('sh', ['-c', 'umask 0; exec "$0" src/sallyport.mjs --help', process.execPath], {
    cwd: installation,
  })
  expect(await running.ended()).toMatchObject({ code: 0 })
  expect(fs.readdirSync(cache())).toHaveLength(1)
  expect(fs.statSync(cache()).mode & 0o077).toBe(0)
})

test('what is broken or of other files in it is passed over', async () => {
  expect(await run(['--help']).ended()).toMatchObject({ code: 0 })
  const [folder = ''] = fs.readdirSync(cache())
  const files = fs.readdirSync(join(cache(), folder)).map((name) => join(cache(), folder, name))
  const contents = files.map((file) => fs.readFileSync(file))
  expect(files.length).toBeGreaterThan(50)
  for (const [n, file] of files.entries()) {
    const content = contents[n] ?? Buffer.alloc(0)
    if (n % 4 === 0) fs.writeFileSync(file, randomBytes(content.length))
    else if (n % 4 === 1) fs.truncateSync(file, Math.floor(content.length / 2))
    else if (n % 4 === 2) fs.writeFileSync(file, Buffer.concat([content.subarray(0, -1), Buffer.from([0x5a])]))
    else fs.writeFileSync(file, contents[(n + 1) % contents.length] ?? '')
  }
  const running = run(['--help'])
  expect(await running.ended()).toMatchObject({ code: 0 })
  expect(running.output()).toMatch(/^Usage: sallyport/)
})

test('the program runs as ever where nothing can be kept', async () => {
  fs.writeFileSync(join(installation, 'node_modules/.cache'), 'a file is where the folder should be')
  const running = run(['--help'])
  expect(await running.ended()).toMatchObject({ code: 0 })
  expect(running.output()).toMatch(/^Usage: sallyport/)
})
