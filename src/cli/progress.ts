// How far long work is, for whoever watches it: one line on standard error that is written over, and gone at the end. Only a terminal gets it, never a
// pipe or a log, never with --json; work that is done within a second says nothing.

/** @param of how much there is; left out: nobody knows. */
export type Progress = (done: number, of?: number) => void

/** Of standard error. */
type Terminal = { isTTY?: boolean; columns?: number; write(text: string): unknown }

const silentMilliseconds = 1_000
const leastMilliseconds = 100

/** One line at a time: whoever begins another work, or prints a result, clears it.
 *  @param terminal undefined: nobody watches. @param clock in milliseconds. */
export function createProgressLine(terminal: Terminal | undefined, clock: () => number = () => performance.now()) {
  let shown = 0
  const clear = () => {
    if (shown > 0) terminal?.write(`\r${' '.repeat(shown)}\r`)
    shown = 0
  }
  return {
    /** @param what such as `rows verified`. */
    start(what: string): Progress {
      clear()
      if (!terminal?.isTTY) return () => undefined
      let next = clock() + silentMilliseconds
      return (done, of = 0) => {
        const now = clock()
        if (now < next) return
        next = now + leastMilliseconds
        const share = of > 0 ? ` of ${of} (${Math.floor((100 * Math.min(done, of)) / of)}%)` : ''
        // A line that is broken could not be written over.
        const text = `${done}${share} ${what}`.slice(0, Math.max(10, (terminal.columns ?? 80) - 1))
        terminal.write(`\r${text.padEnd(shown)}`)
        shown = text.length
      }
    },
    clear,
  }
}
