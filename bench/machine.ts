// Where and with what a run was made.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { checkout, pinned } from './processes.ts'

export type Machine = { cpuModel: string; cores: number; memoryGigabytes: number; kernel: string; pinned: boolean }
export type Versions = Record<'node' | 'postgres' | 'oidcProvider' | 'koa' | 'sallyport' | 'commit', string>

export function describeMachine(): Machine {
  const cores = cpus()
  return {
    cpuModel: cores[0]?.model ?? 'unknown',
    cores: cores.length,
    memoryGigabytes: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    pinned,
  }
}

export function describeVersions(postgres: string): Versions {
  return {
    node: process.versions.node,
    postgres: postgres.replace('PostgreSQL ', ''),
    oidcProvider: versionOf('oidc-provider'),
    koa: versionOf('koa'),
    sallyport: versionIn(join(checkout, 'package.json')),
    commit: commit(),
  }
}

function versionOf(name: string): string {
  return versionIn(join(checkout, 'node_modules', name, 'package.json'))
}

function versionIn(file: string): string {
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
}

/** With a plus when the sources differ from it. */
function commit(): string {
  const git = (...args: string[]) => execFileSync('git', ['-C', checkout, ...args], { encoding: 'utf8' }).trim()
  const changed = git('status', '--porcelain', '--', 'src', 'prisma', 'package-lock.json') !== ''
  return `${git('rev-parse', '--short', 'HEAD')}${changed ? '+' : ''}`
}
