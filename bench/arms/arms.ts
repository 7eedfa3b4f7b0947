// The contestants. Each is a process of its own on the server's core, started with the same Node.
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import manifest from '../../package.json' with { type: 'json' }
import { declaration, password } from '../installation.ts'
import type { Postgres } from '../postgres.ts'
import { type ServerProcess, startServerProcess } from '../processes.ts'

export type ArmName = 'koa' | 'engine-memory' | 'engine-postgres' | 'ours'
export type Arm = ServerProcess & { name: ArmName; databaseUrl: string; rssAtStart: number }

export type ArmOptions = {
  postgres: Postgres
  /** A folder of this run. */
  workspace: string
  /** One that exists already; default: a new one. */
  databaseUrl?: string
  port?: number
  /** Answers 200 when the arm counts as started. Default: when it says that it is ready. */
  readyPath?: string
  workers?: '1' | '2'
  /** Whether the declarative file of ours has the people in it; default: it has. */
  people?: boolean
  /** A list for taskset. Default: the server's core. */
  cores?: string
  nodeOptions?: readonly string[]
  /** Besides. */
  env?: Record<string, string>
}

const documentPath = '/.well-known/openid-configuration'
const secretKey = randomBytes(32).toString('base64url')
/** Node's arguments in `npm start`. */
const argumentsOfOurs = manifest.scripts.start.split(' ').slice(2) // exec node …

export async function startArm(name: ArmName, options: ArmOptions): Promise<Arm> {
  const port = options.port ?? (await freePort())
  const databaseUrl =
    name === 'ours' || name === 'engine-postgres'
      ? (options.databaseUrl ?? (await options.postgres.createDatabase(name.replace('-', '_'))))
      : ''
  const { args, env, readyPath } = await programOf(name, { ...options, port, databaseUrl })
  const server = await startServerProcess({
    port,
    args: [...(options.nodeOptions ?? []), ...args],
    env,
    readyPath: options.readyPath ?? readyPath,
    ...(options.cores ? { cores: options.cores } : {}),
  })
  const rssAtStart = server.rss()
  if (env.METRICS_PORT) await untilMetrics(env.METRICS_PORT)
  return Object.assign(server, { name, databaseUrl, rssAtStart })
}

type Program = { args: string[]; env: Record<string, string>; readyPath: string }

async function programOf(name: ArmName, options: ArmOptions & { port: number; databaseUrl: string }): Promise<Program> {
  const script = (file: string) => join(import.meta.dirname, file)
  const port = String(options.port)
  switch (name) {
    case 'koa':
      return { args: [script('koa.ts'), port], env: {}, readyPath: '/' }
    case 'engine-memory':
      return { args: [script('engine.ts'), port, 'memory'], env: {}, readyPath: documentPath }
    case 'engine-postgres':
      return {
        args: [script('engine.ts'), port, 'postgres'],
        env: { DATABASE_URL: options.databaseUrl },
        readyPath: documentPath,
      }
    case 'ours':
      return { args: argumentsOfOurs, env: await environmentOfOurs(options), readyPath: '/readyz' }
  }
}

/** The real server with every default: audit, synchronous_commit, the log at info; metrics are on. */
async function environmentOfOurs(options: ArmOptions & { port: number; databaseUrl: string }) {
  const file = join(options.workspace, 'sallyport.yaml')
  writeFileSync(file, declaration({ people: options.people ?? true }))
  return {
    ISSUER_URL: `http://localhost:${options.port}`,
    PORT: String(options.port),
    HOST: '127.0.0.1',
    DATABASE_URL: options.databaseUrl,
    SECRET_KEY: secretKey,
    ADMIN_EMAIL: 'owner@example.com', // as every installation that is in use: none waits for its first administrator
    ADMIN_PASSWORD: password,
    SALLYPORT_CONFIG: file,
    LOG_LEVEL: 'info',
    METRICS_PORT: String(await freePort()),
    WORKERS: options.workers ?? '1',
    ...options.env,
  }
}

/** "Metrics on" is what was seen to be so. They open just after the server itself. */
async function untilMetrics(port: string): Promise<void> {
  for (const end = performance.now() + 10_000; ; await delay(20)) {
    const answer = await fetch(`http://127.0.0.1:${port}/metrics`).catch(() => undefined)
    if (answer?.status === 200 && (await answer.text()).includes('sallyport_')) return
    if (performance.now() > end) throw new Error('the server under test shows no metrics')
  }
}

const given = new Set<number>()

/** A port that was free a moment ago, and a new one each time. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = await anyFreePort()
    if (given.has(port)) continue
    given.add(port)
    return port
  }
}

function anyFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() =>
        typeof address === 'object' && address ? resolve(address.port) : reject(new Error('no port')),
      )
    })
  })
}
