// What a command is given.
import type { Config } from '#src/config.ts'
import type { Database } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import type { Log } from '#src/log.ts'
import type { Progress } from './progress.ts'

export type CliDeps = Readonly<{
  /** The same object at every call. @throws ConfigurationError */
  config(): Config
  /** The same with what is stored in the database. Opens it. */
  configInForce(): Promise<Config>
  /** Lines for the operator, on standard error. */
  log(): Log
  /** Opened at the first call (see connection.ts), closed after the command. @param options of the first call. */
  openDatabase(options?: { anySchema?: boolean }): Promise<Database>
  /** SECRET_KEY, or the key of DATA_DIR outside production. */
  secretKeys(): SecretKeys
  now(): Date
  /** For work that may take longer than a second: tells whoever sits at a terminal how far it is. @param what such as `rows verified`. */
  progress(what: string): Progress
  /** The result, once per command. @param json printed with `--json`. @param text printed without it; '' prints nothing. */
  out(json: unknown, text: string): void
  /** Ends the command with code 1. @param message one sentence: what was refused and why. */
  fail(message: string): never
}>
