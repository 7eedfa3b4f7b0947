// Server processes on their own core, and what the kernel says they used. The load and PostgreSQL live on the other core.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Connection, WrongAnswer } from './connection.ts'

export const checkout = join(import.meta.dirname, '..')
const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))

/** False on a machine with one core (or without taskset): then everything shares what there is, and the report says so. */
export const pinned = availableParallelism() >= 2 && hasTaskset()
const serverCore = '0'
const loadCore = '1'
const startTimeoutMs = 60_000
const stopTimeoutMs = 15_000

/** This process and all it starts from now on, PostgreSQL among them. */
export function moveToLoadCore(): void {
  if (pinned) execFileSync('taskset', ['-a', '-cp', loadCore, String(process.pid)])
}

/** The command, free of the pinning that a child would inherit from us. */
export function onEveryCore(command: readonly string[]): readonly string[] {
  return pinned ? ['taskset', '-c', `${serverCore},${loadCore}`, ...command] : command
}

export type ServerProcess = {
  pid: number
  port: number
  /** From the start of the process to the first 200. */
  coldStartMilliseconds: number
  /** What it and its children used since they started, in microseconds. */
  cpu(): Cpu
  /** Megabytes resident, hashing processes left out. */
  rss(): number
  stop(): Promise<void>
}

/** `hashing` is the processes that only hash passwords, which are reported apart from serving. */
export type Cpu = { serving: number; hashing: number }

const started = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of started) child.kill('SIGKILL')
})

/** Starts our Node with these arguments on the server's core. The environment is only what is given, plus PATH.
 *  @param options.readyPath 200 there means started.
 *  @param options.cores a list for taskset; default: the server's core. */
export async function startServerProcess(options: {
  args: readonly string[]
  port: number
  env: Record<string, string>
  readyPath: string
  cores?: string
}): Promise<ServerProcess> {
  const command = [process.execPath, ...options.args]
  const [program = '', ...args] = pinned ? ['taskset', '-c', options.cores ?? serverCore, ...command] : command
  const begun = performance.now()
  const child = spawn(program, args, {
    cwd: checkout,
    env: { PATH: process.env.PATH ?? '', NODE_ENV: 'production', ...options.env },
    stdio: ['ignore', 'ignore', 'pipe'], // standard output, where the log goes, is /dev/null
  })
  started.add(child)
  let complaints = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaints = (complaints + text).slice(-4_000)
  })
  child.once('exit', () => started.delete(child))
  const ended = () => child.exitCode !== null || child.signalCode !== null
  for (const end = performance.now() + startTimeoutMs; (await statusAt(options.port, options.readyPath)) !== 200; ) {
    if (ended() || performance.now() > end)
      throw new Error(`${options.args.join(' ')} did not become ready:\n${complaints}`)
    await delay(1)
  }
  const coldStartMilliseconds = performance.now() - begun
  const pid = child.pid ?? 0
  return {
    pid,
    port: options.port,
    coldStartMilliseconds,
    cpu: () => cpuOf(pid),
    rss: () => rssOf(pid),
    async stop() {
      if (ended()) return
      const exit = once(child, 'exit')
      child.kill('SIGTERM')
      const late = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs)
      await exit
      clearTimeout(late)
    },
  }
}

/** @returns 0 while nothing listens. */
async function statusAt(port: number, path: string): Promise<number> {
  try {
    const connection = await Connection.open(port)
    const { status } = await connection.get(path)
    connection.close()
    return status
  } catch (error) {
    if (
      error instanceof WrongAnswer ||
      ['ECONNREFUSED', 'ECONNRESET'].includes((error as NodeJS.ErrnoException).code ?? '')
    )
      return 0
    throw error
  }
}

function cpuOf(root: number): Cpu {
  const used = { serving: 0, hashing: 0 }
  for (const pid of family(root)) {
    const fields = statOf(pid)
    if (!fields) continue
    const ticks = Number(fields[11]) + Number(fields[12])
    used[isHasher(pid) ? 'hashing' : 'serving'] += (ticks * 1e6) / ticksPerSecond
  }
  return used
}

function rssOf(root: number): number {
  let kilobytes = 0
  for (const pid of family(root))
    if (!isHasher(pid)) kilobytes += Number(/^VmRSS:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0)
  return kilobytes / 1024
}

/** The process and its descendants. */
function family(root: number): number[] {
  const parents = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    const parent = /^\d+$/.test(name) ? statOf(Number(name))?.[1] : undefined
    if (parent !== undefined) parents.set(Number(name), Number(parent))
  }
  const members = new Set([root])
  for (let size = 0; size !== members.size; ) {
    size = members.size
    for (const [pid, parent] of parents) if (members.has(parent)) members.add(pid)
  }
  return [...members]
}

/** The fields after the command name, which may hold spaces: state, ppid, … utime is [11], stime [12]. */
function statOf(pid: number): string[] | undefined {
  const text = read(`/proc/${pid}/stat`)
  return text === '' ? undefined : text.slice(text.lastIndexOf(')') + 2).split(' ')
}

function isHasher(pid: number): boolean {
  return /hash/.test(read(`/proc/${pid}/cmdline`).split('\0').slice(1).join(' ').split('/').at(-1) ?? '')
}

/** @returns '' when the process ended in between. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function hasTaskset(): boolean {
  try {
    execFileSync('taskset', ['-V'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
