// Real processes for the tests that start, stop and kill them. Whatever a test forgets ends with the test process.
import { type ChildProcess, execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

export const checkout = join(import.meta.dirname, '../..')

export type Running = {
  child: ChildProcess
  /** Everything printed so far, both streams. */
  output(): string
  /** Waits for a text in the output; fails with the whole output when the process ends first or time runs out. */
  prints(text: string | RegExp, timeoutMs?: number): Promise<string>
  /** Waits for the end. */
  ended(timeoutMs?: number): Promise<{ code: number | null; signal: NodeJS.Signals | null }>
}

const started = new Set<ChildProcess>()
const groups = new Set<number>()
process.on('exit', killAll)

/** For `afterEach`: what a failed test left running. */
export function killAll(): void {
  for (const { pid } of started) {
    if (!pid) continue
    try {
      process.kill(groups.has(pid) ? -pid : pid, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error // it ended by itself
    }
  }
}

type Options = SpawnOptions & { env?: Record<string, string> }

/** Runs our Node with these arguments. The environment is only what is given, plus PATH. */
export function runNode(args: readonly string[], options: Options = {}): Running {
  return runCommand(process.execPath, args, options)
}

export function runCommand(command: string, args: readonly string[], options: Options = {}): Running {
  const child = spawn(command, args, {
    cwd: checkout,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...options,
    env: { PATH: process.env.PATH ?? '', ...options.env },
  })
  started.add(child)
  if (options.detached && child.pid) groups.add(child.pid)
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null
  const closed = once(child, 'close').finally(() => started.delete(child))
  return {
    child,
    output: () => text,
    async prints(wanted, timeoutMs = 30_000) {
      const found = () => (typeof wanted === 'string' ? text.includes(wanted) : wanted.test(text))
      for (const end = Date.now() + timeoutMs; !found(); await delay(20)) {
        if (hasEnded()) await closed
        if (found()) break
        if (hasEnded() || Date.now() > end) throw new Error(`never printed ${wanted}:\n${text}`)
      }
      return text
    },
    async ended(timeoutMs = 30_000) {
      if (!(await Promise.race([closed.then(() => true), delay(timeoutMs, false, { ref: false })])))
        throw new Error(`still running after ${timeoutMs} ms:\n${text}`)
      return { code: child.exitCode, signal: child.signalCode }
    },
  }
}

/** @returns the command lines of all processes that mention this text. */
export function processesWith(text: string): string[] {
  return execFileSync('ps', ['-ww', '-eo', 'pid=,args='], { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line.includes(text))
}

/** Waits until no process mentions this text. */
export async function gone(text: string, timeoutMs = 5_000): Promise<void> {
  for (const end = Date.now() + timeoutMs; ; await delay(50)) {
    const left = processesWith(text)
    if (left.length === 0) return
    if (Date.now() > end) throw new Error(`still running after ${timeoutMs} ms:\n${left.join('\n')}`)
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (typeof address !== 'object' || !address) throw new Error('no port')
  return address.port
}

/** Waits until every process that answers at this address knows this client: an engine is built anew for a changed configuration.
 *  @param client with its own redirect URI, to which a known client is sent back with what its request lacks. */
export async function knownEverywhere(url: string, client: { client_id: string; redirect_uri: string }): Promise<void> {
  const address = `${url}/oauth/authorize?${new URLSearchParams(client)}`
  for (let inARow = 0, end = Date.now() + 30_000; inARow < 12; ) {
    const { status } = await fetch(address, { headers: { Connection: 'close' }, redirect: 'manual' })
    inARow = status === 303 ? inARow + 1 : 0
    if (Date.now() > end) throw new Error(`${client.client_id} is not known everywhere: ${status}`)
    if (inARow === 0) await delay(50)
  }
}
