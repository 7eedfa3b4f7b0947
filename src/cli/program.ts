// The command line. One file per command, each exporting `register(program, deps)`; the list below is all of them.
// Exit codes: 0 done, 1 refused, 2 wrong usage or configuration. Results go to standard output (`--json`: one JSON document
// and nothing else), everything else to standard error.
//
// A command is registered like this:
//
//   export function register(program: Command, deps: CliDeps): void {
//     program
//       .command('clients')
//       .description('…')
//       .command('list')
//       .action(async () => {
//         const { prisma } = await deps.openDatabase()
//         const clients = await listClients(prisma)
//         deps.out(clients, clients.map((client) => client.clientId).join('\n'))
//       })
//   }
//
// `--json` and `--help` come from here. A room's named error may simply fly: its message is printed and the code is 1.
import { Command, CommanderError } from 'commander'
import { type Config, ConfigurationError, readConfig } from '#src/config.ts'
import { createSecretKeys, loadOrCreateSecretKey } from '#src/keys/secret-key.ts'
import { createLog, type Log } from '#src/log.ts'
import type { Connection } from './connection.ts'
import type { CliDeps } from './deps.ts'
import { createProgressLine } from './progress.ts'

/** What `deps.fail` throws. */
class Refused extends Error {
  override name = 'Refused'
}

const commands = {
  start: () => import('./start.ts'),
  migrate: () => import('./migrate.ts'),
  apply: () => import('./apply.ts'),
  export: () => import('./export.ts'),
  clients: () => import('./clients.ts'),
  users: () => import('./users.ts'),
  apis: () => import('./apis.ts'),
  routes: () => import('./routes.ts'),
  probe: () => import('./probe.ts'),
  policies: () => import('./policies.ts'),
  keys: () => import('./keys.ts'),
  'api-keys': () => import('./api-keys.ts'),
  tokens: () => import('./tokens.ts'),
  relations: () => import('./relations.ts'),
  webhooks: () => import('./webhooks.ts'),
  why: () => import('./why.ts'),
  audit: () => import('./audit.ts'),
  reviews: () => import('./reviews.ts'),
  settings: () => import('./settings.ts'),
  jobs: () => import('./jobs.ts'),
  doctor: () => import('./doctor.ts'),
  backup: () => import('./backup.ts'),
}

/** @returns after the command; `start` goes on listening. The exit code is in `process.exitCode`. */
export async function main(argv: readonly string[]): Promise<void> {
  const program = new Command('sallyport')
    .description('OAuth 2.0 and OpenID Connect authorization server')
    .option('--json', 'print one JSON document')
    .configureHelp({ showGlobalOptions: true })
    .exitOverride()
  const json = argv.includes('--json')
  if (json) program.configureOutput({ writeErr: () => undefined }) // reported below, as JSON
  const { deps, clear, close } = createDeps(json)
  for (const command of await commandsFor(argv)) command.register(program, deps)
  for (const command of everyCommand(program)) command.exitOverride().copyInheritedSettings(program)
  try {
    await program.parseAsync(idsBehindOptions(program, argv))
  } catch (error) {
    clear()
    process.exitCode = report(error, json)
  } finally {
    clear()
    await close()
  }
}

/** The one that is named, if there is one of that name: it should not have to wait for what the others need. */
function commandsFor([, , ...words]: readonly string[]): Promise<
  { register(program: Command, deps: CliDeps): void }[]
> {
  const named = words.find((word) => !word.startsWith('-')) ?? ''
  const wanted = Object.hasOwn(commands, named) ? [commands[named as keyof typeof commands]] : Object.values(commands)
  return Promise.all(wanted.map((load) => load()))
}

/** Ids are base64url, so one in 64 begins with a hyphen. No option here is a hyphen and 42 characters: such a word is a value. */
function idsBehindOptions(program: Command, argv: readonly string[]): string[] {
  const withValue = new Set(
    everyCommand(program).flatMap(({ options }) => options.filter((o) => o.required).map((o) => o.long)),
  )
  const end = argv.includes('--') ? argv.indexOf('--') : argv.length
  const isId = (word: string, at: number) => at < end && /^-[\w-]{42}$/.test(word) && !withValue.has(argv[at - 1])
  const ids = argv.filter(isId)
  return ids.length === 0
    ? [...argv]
    : [...argv.slice(0, end).filter((word, at) => !isId(word, at)), '--', ...ids, ...argv.slice(end + 1)]
}

function createDeps(json: boolean): { deps: CliDeps; clear(): void; close(): Promise<void> } {
  let config: Config | undefined
  let log: Log | undefined
  let connection: Promise<Connection> | undefined
  const line = createProgressLine(json ? undefined : process.stderr)
  const deps: CliDeps = Object.freeze({
    config: () => (config ??= readConfig()),
    async configInForce() {
      const { readConfigInForce } = await import('#src/settings/settings.ts')
      return readConfigInForce(await deps.openDatabase(), deps.config())
    },
    log: () =>
      (log ??= createLog(
        { logLevel: deps.config().logLevel === 'info' ? 'warn' : deps.config().logLevel },
        process.stderr,
      )),
    async openDatabase(options) {
      const { connect } = await import('./connection.ts')
      connection ??= connect(deps.config(), deps.log(), options)
      return (await connection).database
    },
    secretKeys: () => createSecretKeys(deps.config().secretKeys ?? [loadOrCreateSecretKey(deps.config().dataDir)]),
    now: () => new Date(),
    progress: line.start,
    out(result, text) {
      line.clear()
      if (json) process.stdout.write(`${JSON.stringify(result)}\n`)
      else if (text) process.stdout.write(`${text}\n`)
    },
    fail(message) {
      throw new Refused(message)
    },
  })
  return { deps, clear: line.clear, close: async () => (await connection?.catch(() => undefined))?.close() }
}

function everyCommand(command: Command): Command[] {
  return command.commands.flatMap((child) => [child, ...everyCommand(child)])
}

/** @returns the exit code. */
function report(error: unknown, json: boolean): number {
  if (error instanceof CommanderError && error.exitCode === 0) return 0 // --help
  const usage = error instanceof CommanderError || error instanceof ConfigurationError
  if (error instanceof CommanderError && !json) return 2 // Commander has printed it
  if (json) {
    const problems = error instanceof ConfigurationError ? { problems: error.problems } : {}
    process.stderr.write(`${JSON.stringify({ error: messageOf(error), ...problems })}\n`)
  } else process.stderr.write(`${messageOf(error)}\n`)
  if (isFault(error)) createLog({ logLevel: 'error' }, process.stderr).error({ event: 'command.failed', err: error })
  return usage ? 2 : 1
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/^error: /, '') : 'unknown error'
}

/** Our own errors have a name of their own and a message for people; anything else is a fault that needs its stack. */
function isFault(error: unknown): boolean {
  return (
    !(error instanceof Error) || /^((Type|Range|Reference|Syntax|Aggregate)?Error|error|Prisma\w+)$/.test(error.name)
  )
}
