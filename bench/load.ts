// The load: closed loop for cost and capacity (each lane sends its next request when the last was answered), open loop for the
// waiting time at a given rate (requests leave on schedule whether or not the last ones came back).
import { setTimeout as delay } from 'node:timers/promises'
import { Connection } from './connection.ts'

/** Does one operation and checks every answer in it. @throws WrongAnswer */
export type Operation = (connection: Connection, lane: number) => Promise<void>

export type Load = { operations: number; seconds: number; milliseconds: Float64Array }

/** The window counts the operations that end in it.
 *  @param onWarm runs, and is waited for, before the window opens. @param onWindow is called at its begin and at its end. */
export async function closedLoop(options: {
  port: number
  lanes: number
  warmUpSeconds: number
  seconds: number
  operation: Operation
  onWarm?: () => Promise<unknown>
  onWindow?: () => void
}): Promise<Load> {
  const { lanes, operation } = options
  const connections = await openAll(options.port, lanes)
  const durations: number[] = []
  let phase: 'warm-up' | 'window' | 'over' = 'warm-up'
  let failure: unknown
  const lane = async (connection: Connection, index: number) => {
    try {
      while (phase !== 'over' && failure === undefined) {
        const begun = performance.now()
        await operation(connection, index)
        if (phase === 'window') durations.push(performance.now() - begun)
      }
    } catch (error) {
      failure ??= error
    }
  }
  const running = connections.map(lane)
  await pause(options.warmUpSeconds, () => failure !== undefined)
  await options.onWarm?.()
  options.onWindow?.()
  phase = 'window'
  const begun = performance.now()
  await pause(options.seconds, () => failure !== undefined)
  phase = 'over'
  const seconds = (performance.now() - begun) / 1000
  options.onWindow?.()
  await Promise.all(running)
  for (const connection of connections) connection.close()
  if (failure !== undefined) throw failure
  return { operations: durations.length, seconds, milliseconds: Float64Array.from(durations).sort() }
}

/** Latency counts from the moment the request was due: a stalled server cannot hide the queue behind it. */
export async function openLoop(options: {
  port: number
  lanes: number
  perSecond: number
  seconds: number
  operation: Operation
}): Promise<Load> {
  const { operation, perSecond } = options
  const connections = await openAll(options.port, options.lanes)
  const idle = connections.map((connection, lane) => ({ connection, lane }))
  const due: number[] = []
  const durations: number[] = []
  let failure: unknown
  let running = 0
  const serve = () => {
    while (idle.length > 0 && due.length > 0) {
      const free = idle.shift()
      const at = due.shift()
      if (!free || at === undefined) return
      running++
      operation(free.connection, free.lane)
        .then(
          () => durations.push(performance.now() - at),
          (error: unknown) => {
            failure ??= error
          },
        )
        .finally(() => {
          running--
          idle.push(free)
          serve()
        })
    }
  }
  const begun = performance.now()
  const end = begun + options.seconds * 1000
  for (let sent = 0; performance.now() < end && failure === undefined; await delay(1)) {
    for (; begun + (sent * 1000) / perSecond <= performance.now(); sent++) due.push(begun + (sent * 1000) / perSecond)
    serve()
  }
  const seconds = (performance.now() - begun) / 1000
  for (const limit = performance.now() + 10_000; (running > 0 || due.length > 0) && performance.now() < limit; )
    await delay(5)
  for (const connection of connections) connection.close()
  if (failure !== undefined) throw failure
  return { operations: durations.length, seconds, milliseconds: Float64Array.from(durations).sort() }
}

/** @param sorted ascending. */
export function percentile(sorted: Float64Array, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? Number.NaN)
    : ((sorted[middle - 1] ?? Number.NaN) + (sorted[middle] ?? Number.NaN)) / 2
}

function openAll(port: number, lanes: number): Promise<Connection[]> {
  return Promise.all(Array.from({ length: lanes }, () => Connection.open(port)))
}

async function pause(seconds: number, isOver: () => boolean): Promise<void> {
  for (const end = performance.now() + seconds * 1000; performance.now() < end && !isOver(); )
    await delay(Math.max(1, Math.min(50, end - performance.now())))
}
