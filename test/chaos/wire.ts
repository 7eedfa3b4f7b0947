// The wire between a server and its database, with a hand on it: it knows the statement that commits token rows, can hold it before the
// database sees it, and can hold the database's answer to it. Nothing of this is in the product.
//
// PostgreSQL's protocol: after the first message each is one byte of type and four of length. A prepared statement's text passes once,
// in Parse; Bind names it; Sync ends a round trip, which the server ends with ReadyForQuery.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** before: the database has not seen the statement. after: it is committed, and the server does not know yet. */
export type Moment = 'before' | 'after'

const patienceMs = 20_000
const writesTokens = /\bINSERT INTO token\b|\bUPDATE token\b/

export async function openWire(databaseUrl: string) {
  const target = new URL(databaseUrl)
  const directory = target.searchParams.get('host')
  const sockets = new Set<Socket>()
  let hold: { at: Moment; reached: () => void; released: Promise<void> } | undefined

  const server = createServer({ noDelay: true }, (near) => {
    const far = directory
      ? connect(`${directory}/.s.PGSQL.${target.port || 5432}`)
      : connect(Number(target.port || 5432), target.hostname)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one
        .on('error', () => one.destroy())
        .on('close', () => {
          sockets.delete(one)
          other.destroy()
        })
    }
    const texts = new Map<string, string>()
    /** For each Sync on its way: whether token rows are committed by it. */
    const awaited: boolean[] = []
    let committing = false
    const asked = splitMessages({ startup: true })
    const answered = splitMessages({ startup: false })

    relay(near, far, asked, async (type, message) => {
      if (type === 'P') {
        const [name = '', text = ''] = cStrings(message, 5)
        texts.set(name, text)
      } else if (type === 'B') {
        const [, name = ''] = cStrings(message, 5)
        if (writesTokens.test(texts.get(name) ?? '')) {
          committing = true
          await pass('before')
        }
      } else if (type === 'S') {
        awaited.push(committing)
        committing = false
      } else if (type === 'Q') awaited.push(false)
    })
    relay(far, near, answered, async (type) => {
      if (type === 'Z' && awaited.shift()) await pass('after')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  async function pass(moment: Moment): Promise<void> {
    if (hold?.at !== moment) return
    hold.reached()
    await hold.released
  }

  const url = new URL(databaseUrl)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  url.searchParams.delete('host')
  return {
    url: url.href,
    /** From now on commits stop at this moment. `reached` resolves with the first, and fails when none comes; `release` lets them all
     *  go on. */
    hold(at: Moment): { reached: Promise<void>; release(): void } {
      const reached = Promise.withResolvers<void>()
      const released = Promise.withResolvers<void>()
      hold = { at, reached: reached.resolve, released: released.promise }
      const patience = setTimeout(() => reached.reject(new Error(`no commit came to "${at}"`)), patienceMs)
      return {
        reached: reached.promise.finally(() => clearTimeout(patience)),
        release() {
          hold = undefined
          released.resolve()
        },
      }
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Passes messages on one by one, each after `look` is done with it. */
function relay(
  from: Socket,
  to: Socket,
  split: (chunk: Buffer) => { type: string; message: Buffer }[],
  look: (type: string, message: Buffer) => Promise<void>,
): void {
  let line = Promise.resolve()
  from.on('data', (chunk: Buffer) => {
    line = line.then(async () => {
      for (const { type, message } of split(chunk)) {
        await look(type, message)
        if (!to.destroyed) to.write(message)
      }
    })
  })
}

function splitMessages({ startup }: { startup: boolean }) {
  let rest = Buffer.alloc(0)
  let first = startup
  return (chunk: Buffer): { type: string; message: Buffer }[] => {
    rest = Buffer.concat([rest, chunk])
    const messages = []
    for (;;) {
      const lengthAt = first ? 0 : 1
      if (rest.length < lengthAt + 4) return messages
      const end = lengthAt + rest.readUInt32BE(lengthAt)
      if (rest.length < end) return messages
      messages.push({ type: first ? '' : rest.toString('latin1', 0, 1), message: rest.subarray(0, end) })
      rest = rest.subarray(end)
      first = false
    }
  }
}

/** The texts that a message begins with, each ended by a zero byte. */
function cStrings(message: Buffer, from: number): string[] {
  return message.toString('utf8', from).split('\0', 2)
}
