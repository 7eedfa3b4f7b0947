// What several commands read. Secrets come from standard input only: arguments show in the process list and in shell histories.
import { text } from 'node:stream/consumers'
import { InvalidArgumentError } from 'commander'
import type { Change } from '#src/audit/change.ts'
import type { CliDeps } from './deps.ts'

/** The operator at a terminal or a script: the audit record says "cli" and the number of the account that ran it. */
export function cliChange(deps: CliDeps): Change {
  return { now: deps.now(), actor: { kind: 'cli', id: process.getuid?.().toString() } }
}

/** @returns standard input without the line break at its end. Ends with code 1 when there is nothing on it. */
export async function readSecret(deps: CliDeps, what: string): Promise<string> {
  if (process.stdin.isTTY) process.stderr.write(`${what}, then Ctrl-D: `)
  const value = (await text(process.stdin)).replace(/\r?\n$/, '')
  if (value === '') deps.fail(`There is no ${what} on standard input.`)
  if (/[\r\n]/.test(value)) deps.fail(`Standard input has more than one line: send the ${what} alone.`)
  return value
}

/** For options that may be given several times. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value]
}

/** For `--api <identifier>=<scope>,<scope>`. */
export function collectApi(value: string, before: Record<string, string[]> = {}): Record<string, string[]> {
  const at = value.lastIndexOf('=')
  const scopes = value
    .slice(at + 1)
    .split(',')
    .filter(Boolean)
  if (at < 1 || scopes.length === 0) throw new InvalidArgumentError('Write <identifier>=<scope>,<scope>.')
  return { ...before, [value.slice(0, at)]: scopes }
}

export function wholeNumber(value: string): number {
  if (!/^\d{1,9}$/.test(value)) throw new InvalidArgumentError('Write a whole number.')
  return Number(value)
}
