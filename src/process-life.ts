// A process from its first line to its last: the signals and faults that end it, and closing what was opened, backwards.
import { setFlagsFromString } from 'node:v8'
import type { Log } from './log.ts'

/** Signals and faults of the process as a whole. */
export function watchProcess(log: Log) {
  const stop = new AbortController()
  let started = false
  let firstSignalAt: number | undefined
  const onSignal = () => {
    // npm hands a Ctrl-C on to its child, which has it from the terminal already: one key press, two signals.
    if (firstSignalAt !== undefined && performance.now() - firstSignalAt > 500) process.exit(1)
    firstSignalAt ??= performance.now()
    stop.abort()
  }
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
  process.on('unhandledRejection', (err) => {
    log.error({ event: 'process.rejection_unhandled', err })
    if (!started) process.exit(1)
  })
  process.on('uncaughtException', (err) => {
    // Whatever was under way is in an unknown state: finish the requests of others, then let the supervisor start afresh.
    log.fatal({ event: 'process.exception_uncaught', err })
    if (!started) process.exit(1)
    process.exitCode = 1
    stop.abort()
  })
  return {
    stop: stop.signal,
    requestStop: () => stop.abort(),
    /** What breaks while the process stops is the stop's doing. */
    unlessStopping:
      <T>(tell: (what: T) => void) =>
      (what: T) => {
        if (!stop.signal.aborted) tell(what)
      },
    started: () => {
      started = true
      // From here on most of what is made is garbage soon: collected when the heap has doubled, not quadrupled. What a start makes
      // stays, and collecting it would only take time (docs/decisions/016).
      setFlagsFromString('--heap-growing-percent=100')
    },
    untilStop: () =>
      new Promise<void>((resolve) => {
        if (stop.signal.aborted) resolve()
        else stop.signal.addEventListener('abort', () => resolve())
      }),
  }
}

/** What was opened, to be closed in the opposite order, each whatever became of the others. */
export function createClosing(log: Log) {
  const opened: [what: string, close: () => Promise<unknown>][] = []
  return {
    add(what: string, close: () => Promise<unknown>): void {
      opened.push([what, close])
    },
    async close(): Promise<void> {
      for (const [what, close] of opened.splice(0).reverse())
        await close().catch((err: unknown) => log.error({ event: 'server.close_failed', what, err }))
    },
  }
}
