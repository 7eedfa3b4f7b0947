// docs/calling-an-api.md promises the same call in six languages. Every program is compiled and run against a real server and
// the resource server of examples/; a language whose compiler is missing shows as skipped, by name.
import { execFile, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startServer } from '#test/support/server.ts'
import { createOrdersApi, ordersApi, reports } from './orders.ts'
import { type Program, startProgram } from './program.ts'

const run = promisify(execFile)
const folder = 'examples/calling-an-api'
const debianCrates = '/usr/share/cargo/registry'
const build = mkdtempSync(join(tmpdir(), 'sallyport-calling-'))

type Language = {
  name: string
  file: string
  /** What must be on the machine; the Debian packages that bring it are named in the skip. */
  needs: () => boolean
  packages: string
  compile?: () => Promise<unknown>
  command: [string, ...string[]]
}

const languages: Language[] = [
  {
    name: 'Python',
    file: 'python/orders.py',
    needs: () => has('python3', '--version'),
    packages: 'python3',
    command: ['python3', `${folder}/python/orders.py`],
  },
  {
    name: 'TypeScript',
    file: 'typescript/orders.ts',
    needs: () => true,
    packages: 'none',
    command: [process.execPath, `${folder}/typescript/orders.ts`],
  },
  {
    name: 'Go',
    file: 'go/orders.go',
    needs: () => has('go', 'version'),
    packages: 'golang-go',
    compile: () =>
      run('go', ['build', '-o', join(build, 'orders-go'), `${folder}/go/orders.go`], {
        env: { ...process.env, GOCACHE: join(build, 'go-cache'), GOFLAGS: '-mod=mod', GO111MODULE: 'off' },
      }),
    command: [join(build, 'orders-go')],
  },
  {
    name: 'Rust',
    file: 'rust/src/main.rs',
    needs: () => has('cargo', '--version') && existsSync(join(debianCrates, 'curl-0.4.44')) && hasCrate('serde_json-'),
    packages: 'cargo librust-curl-dev librust-serde-json-dev',
    compile: () => {
      cpSync(`${folder}/rust`, join(build, 'rust'), { recursive: true })
      // The crates come from Debian's packages, so that the test needs no crates.io.
      const source = ['source.crates-io.replace-with="debian"', `source.debian.directory="${debianCrates}"`]
      return run('cargo', ['build', '--quiet', '--offline', ...source.flatMap((line) => ['--config', line])], {
        cwd: join(build, 'rust'),
      })
    },
    command: [join(build, 'rust/target/debug/orders')],
  },
  {
    name: 'Java',
    file: 'java/Orders.java',
    needs: () => has('javac', '-version'),
    packages: 'default-jdk-headless',
    compile: () => run('javac', ['-d', join(build, 'java'), `${folder}/java/Orders.java`]),
    command: ['java', '-cp', join(build, 'java'), 'Orders'],
  },
  {
    name: 'C++',
    file: 'cpp/orders.cpp',
    needs: () => has('g++', '--version') && hasHeaders('curl/curl.h', 'nlohmann/json.hpp'),
    packages: 'g++ libcurl4-gnutls-dev nlohmann-json3-dev',
    compile: () =>
      run('g++', [
        '-std=c++17',
        '-Wall',
        '-Wextra',
        '-Werror',
        `${folder}/cpp/orders.cpp`,
        '-o',
        join(build, 'orders-cpp'),
        '-lcurl',
      ]),
    command: [join(build, 'orders-cpp')],
  },
]

describe('docs/calling-an-api.md', () => {
  let server: Awaited<ReturnType<typeof startServer>>
  let api: Program
  beforeAll(async () => {
    server = await startServer()
    await createOrdersApi(server)
    api = await startProgram('examples/resource-server/server.ts', {
      ISSUER_URL: server.url,
      API_IDENTIFIER: ordersApi,
      PORT: '0',
    })
  }, 60_000)
  afterAll(async () => {
    await api?.stop()
    await server?.stop()
    rmSync(build, { recursive: true, force: true })
  })

  it.each(languages)('shows the $name program as it is tested', ({ file }) => {
    expect(readFileSync('docs/calling-an-api.md', 'utf8')).toContain(
      `\n${readFileSync(join(folder, file), 'utf8')}\`\`\`\n`,
    )
  })

  for (const { name, needs, packages, compile, command } of languages) {
    const present = needs()
    if (!present) process.stderr.write(`docs/calling-an-api.md: ${name} is NOT tested here, install: ${packages}\n`)
    it.skipIf(!present)(
      `${name}${present ? '' : ` (NOT TESTED, install ${packages})`}: tells 200, 401 and 403 apart, and takes a new token for 401 only`,
      { timeout: 300_000 },
      async () => {
        await compile?.()
        const [program, ...parameters] = command
        const { stdout } = await run(program, parameters, {
          timeout: 30_000,
          // The credentials are in the environment: what is in argv, every user of the machine can read.
          env: {
            PATH: process.env.PATH,
            HOME: build,
            ISSUER_URL: server.url,
            API_URL: api.url,
            API_IDENTIFIER: ordersApi,
            CLIENT_ID: reports.id,
            CLIENT_SECRET: reports.secret,
          },
        })
        expect(stdout.trim().split('\n')).toEqual([
          expect.stringMatching(/^needs new token \(401\)/), // once: the second refusal is a 403, and no reason to ask again
          expect.stringMatching(/^ok \(200\)/),
          expect.stringMatching(/^not allowed \(403\).*insufficient_scope.*orders:delete/),
        ])
      },
    )
  }
})

function has(program: string, question: string): boolean {
  return spawnSync(program, [question]).status === 0
}

function hasCrate(prefix: string): boolean {
  return spawnSync('sh', ['-c', `ls -d ${debianCrates}/${prefix}*`]).status === 0
}

function hasHeaders(...headers: string[]): boolean {
  const source = headers.map((header) => `#include <${header}>\n`).join('')
  return spawnSync('g++', ['-std=c++17', '-fsyntax-only', '-x', 'c++', '-'], { input: source }).status === 0
}
