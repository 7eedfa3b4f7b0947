// The programs that the console offers to copy do what they say: a service takes a token and calls an API with it; a person is signed in,
// by an application with a secret and by one without. A language whose compiler is missing shows as skipped, by name.
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createClient } from '#src/clients/clients.ts'
import { change, orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const run = promisify(execFile)
const folder = 'views/code'
const crates = '/usr/share/cargo/registry'
const build = mkdtempSync(join(tmpdir(), 'sallyport-code-'))
const has = (program: string, argument = '--version') => spawnSync(program, [argument]).status === 0

type Language = {
  needs: () => boolean
  compile?: (file: string) => Promise<unknown>
  command: (file: string) => string[]
}

const go = { GOCACHE: join(build, 'go-cache'), GO111MODULE: 'off', ...process.env }
const languages: Record<string, Language> = {
  'shell.sh': { needs: () => has('curl') && has('openssl', 'version'), command: (file) => ['sh', file] },
  'typescript.ts': { needs: () => true, command: (file) => [process.execPath, file] },
  'python.py': { needs: () => has('python3'), command: (file) => ['python3', file] },
  'go.go': {
    needs: () => has('go', 'version'),
    compile: (file) => run('go', ['build', '-o', made(file), file], { env: go }),
    command: (file) => [made(file)],
  },
  'java.java': { needs: () => has('javac', '-version'), command: (file) => ['java', file] },
  'rust.rs': {
    needs: () => has('cargo') && existsSync(join(crates, 'curl-0.4.44')),
    async compile(file) {
      cpSync('examples/calling-an-api/rust/Cargo.toml', join(build, 'rust/Cargo.toml'))
      mkdirSync(join(build, 'rust/src'), { recursive: true })
      copyFileSync(file, join(build, 'rust/src/main.rs'))
      // The crates come from Debian's packages, so that the test needs no crates.io.
      const source = ['source.crates-io.replace-with="debian"', `source.debian.directory="${crates}"`]
      const options = ['--quiet', '--offline', ...source.flatMap((line) => ['--config', line])]
      await run('cargo', ['build', ...options], { cwd: join(build, 'rust') })
    },
    command: () => [join(build, 'rust/target/debug/orders')],
  },
  'cpp.cpp': {
    needs: () =>
      has('g++') && ['openssl/sha.h', 'nlohmann/json.hpp'].every((name) => existsSync(`/usr/include/${name}`)),
    compile: (file) =>
      run('g++', ['-std=c++17', '-Wall', '-Wextra', '-Werror', file, '-o', made(file), '-lcurl', '-lcrypto']),
    command: (file) => [made(file)],
  },
}
const made = (file: string) => join(build, file.replaceAll(/\W/g, '-'))
const filesOf = (kind: string) => readdirSync(join(folder, kind)).sort()

let server: TestServer
let j: Journey
beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
})
afterAll(async () => {
  await server?.stop()
  rmSync(build, { recursive: true, force: true })
})

/** Every folder has six languages, and every file of one is known here. */
it.each(['service', 'sign-in'])('%s is offered in six languages', (kind) => {
  expect(filesOf(kind)).toHaveLength(6)
  expect(filesOf(kind).filter((name) => !languages[name])).toEqual([])
})

/** @returns what it printed. Credentials are in its environment: what is in argv, every user of the machine can read. */
async function start(
  file: string,
  env: Record<string, string>,
  act?: (printed: () => string, type: (line: string) => void) => Promise<void>,
) {
  const language = languages[file.split('/').at(-1) ?? ''] as Language
  await language.compile?.(file)
  const [program = '', ...parameters] = language.command(file)
  const child = spawn(program, parameters, {
    env: { PATH: process.env.PATH, HOME: build, ISSUER_URL: server.url, ...env },
  })
  const ended = once(child, 'close')
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      text += String(chunk)
    })
  try {
    await act?.(
      () => text,
      (line) => child.stdin.write(`${line}\n`),
    )
    const [status] = await ended
    expect(status, text).toBe(0)
    return text
  } finally {
    child.kill()
  }
}

describe('a service', () => {
  const received: string[] = []
  const api = createServer((request, response) => {
    received.push(request.headers.authorization ?? '')
    response.end('hello from the API')
  })
  beforeAll(() => once(api.listen(0, '127.0.0.1'), 'listening'))
  afterAll(() => api.close())

  for (const name of filesOf('service'))
    it.skipIf(!languages[name]?.needs())(
      `${name} takes a token and calls an API with it`,
      { timeout: 300_000 },
      async () => {
        received.length = 0
        const printed = await start(join(folder, 'service', name), {
          CLIENT_ID: 'reports',
          CLIENT_SECRET: j.secret,
          SCOPE: 'orders:read',
          API_IDENTIFIER: orders,
          API_URL: `http://127.0.0.1:${(api.address() as AddressInfo).port}/`,
        })
        expect(printed).toContain('hello from the API')
        expect(received).toHaveLength(1)
        const token = received[0]?.replace(/^Bearer /, '') ?? ''
        expect((await j.introspect(token, 'orders-api')).body).toMatchObject({ active: true, scope: 'orders:read' })
      },
    )
})

describe('a sign-in', () => {
  const kinds = { web: () => j.secret, native: () => '' } as const
  const port = 20_000 + Math.floor(Math.random() * 10_000)
  const callback = `http://127.0.0.1:${port}/callback`
  beforeAll(async () => {
    for (const type of ['web', 'native'] as const)
      await createClient(
        server.database.prisma,
        { id: `program-${type}`, type, redirectUris: [callback], scopes: ['openid', 'email'] },
        type === 'web' ? [{ value: j.secret }] : [],
        change(),
      )
    await server.settle()
  })

  for (const name of filesOf('sign-in'))
    for (const type of ['web', 'native'] as const)
      it.skipIf(!languages[name]?.needs())(`${name} signs a person in, ${type}`, { timeout: 300_000 }, async () => {
        const printed = await start(
          join(folder, 'sign-in', name),
          {
            CLIENT_ID: `program-${type}`,
            CLIENT_SECRET: kinds[type](),
            REDIRECT_URI: callback,
            SCOPE: 'openid email',
          },
          async (text, write) => {
            await expect.poll(text, { timeout: 60_000 }).toMatch(/Open \S+\n/)
            const page = await j.walk(new Person(server.url), /Open (\S+)/.exec(text())?.[1] ?? '')
            expect(page.url).toContain(`${callback}?code=`)
            if (text().includes('The address')) return write(page.url)
            // An answer that it did not ask for is refused, and ends nothing.
            expect((await fetch(`${callback}?code=x&state=other`)).status).toBe(400)
            expect((await fetch(page.url)).status).toBe(200)
          },
        )
        expect(printed).toContain('Signed in:')
        expect(printed).toContain(j.alice.id)
        expect(printed).toContain(server.url)
      })
})
