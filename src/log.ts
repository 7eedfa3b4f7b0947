// One structured line per decision, on standard output. Event names are past tense (login.failed); values are ids, never secrets.
import { type DestinationStream, type Logger, pino } from 'pino'
import type { Config } from '#src/config.ts'

export type Log = Logger

/** What every request leaves. Ids and numbers of our own making only, so nothing has to be searched for secrets. */
export type RequestLine = { requestId: string; method: string; path: string; status: number; ms: number }
export type ServerLog = Log & { requestCompleted(line: RequestLine): void }

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

/** @param own fields of every line of this process. */
export function createLog(
  config: Pick<Config, 'logLevel'>,
  destination?: DestinationStream,
  own: Record<string, unknown> = {},
): ServerLog {
  const options = {
    level: config.logLevel,
    base: own,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
    redact: {
      paths: redacted.flatMap((name) => [name, `*.${name}`, `*.*.${name}`, `*["${name}"]`]),
      censor: '[redacted]',
    },
  }
  const log = destination ? pino(options, destination) : pino(options)
  let lines = destination
  return Object.assign(log, {
    requestCompleted(line: RequestLine) {
      if (!log.isLevelEnabled('info')) return
      const time = new Date().toISOString()
      lines ??= bufferedOutput()
      lines.write(`${JSON.stringify({ level: 'info', time, ...own, event: 'request.completed', ...line })}\n`)
    },
  })
}

/** One system call for many requests. A line waits a tenth of a second at most; those of faults never do. Several processes may
 *  write to one pipe: up to 4 KiB arrive in one piece (PIPE_BUF, pipe(7)). */
function bufferedOutput(): DestinationStream {
  const output = pino.destination({ fd: 1, sync: true, minLength: 4_000, maxWrite: 4_096 })
  setInterval(() => output.flushSync(), 100).unref()
  process.on('exit', () => output.flushSync())
  return output
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
