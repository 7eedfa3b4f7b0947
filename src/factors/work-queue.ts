// Bounds expensive work: so many at once, so many waiting, the rest refused at once. First come, first served.

export class QueueFull extends Error {
  override name = 'QueueFull'
}

type WorkQueue = (<T>(work: () => Promise<T>) => Promise<T>) & { waiting(): number; isFull(): boolean }

/** @throws QueueFull (from the returned function) when `limits.waiting` are waiting already. */
export function createWorkQueue(limits: { running: number; waiting: number }): WorkQueue {
  const waiting: (() => void)[] = []
  let running = 0
  const isFull = () => running >= limits.running && waiting.length >= limits.waiting

  const run = async <T>(work: () => Promise<T>): Promise<T> => {
    if (running < limits.running) running++
    else if (!isFull()) await new Promise<void>((start) => waiting.push(start))
    else throw new QueueFull('too much work is waiting')
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next)
        next() // hands its place over: `running` stays
      else running--
    }
  }
  return Object.assign(run, { waiting: () => waiting.length, isFull })
}
