// One structured line per decision, on standard output. Event names are past tense (login.failed); values are ids, never secrets.
import { type DestinationStream, type Logger, pino } from 'pino'
import type { Config } from '#src/config.ts'

export type Log = Logger

/** Fields that must never be printed, whoever passes them. Last line of defence: callers log ids in the first place. */
const redacted = [
  'password',
  'secret',
  'clientSecret',
  'client_secret',
  'token',
  'accessToken',
  'access_token',
  'refreshToken',
  'refresh_token',
  'code',
  'idToken',
  'id_token',
  'cookie',
  'authorization',
  'email',
  'identifier',
  'apiKey',
  'csrf',
  'setupCode',
]

export function createLog(config: Pick<Config, 'logLevel'>, destination?: DestinationStream): Log {
  const options = {
    level: config.logLevel,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
    redact: {
      paths: redacted.flatMap((name) => [name, `*.${name}`, `*.*.${name}`, `*["${name}"]`]),
      censor: '[redacted]',
    },
  }
  return destination ? pino(options, destination) : pino(options)
}

/** A database error may quote the row it failed on ("Key (email)=(…)"): keep what locates the fault, drop what it carried. */
function describeError(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { type: typeof error }
  const { code, meta } = error as Error & { code?: unknown; meta?: { modelName?: unknown } }
  return {
    type: error.name,
    ...(typeof code === 'string' ? { errorCode: code } : {}), // not `code`: that name is redacted
    ...(meta?.modelName ? { model: meta.modelName } : {}),
    message: error.message.split('\n').at(-1)?.slice(0, 300),
    stack: error.stack
      ?.split('\n')
      .filter((line) => line.startsWith('    at '))
      .slice(0, 12)
      .map((line) => line.trim()),
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
  }
}
