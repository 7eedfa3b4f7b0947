// The stream to a syslog server, over real sockets: what was written to a connection that breaks is sent again.
import { randomBytes } from 'node:crypto'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { linkHash } from '#src/audit/chain.ts'
import { careForChain } from '#src/audit/checkpoints.ts'
import { auditBacklog, sealAll } from '#src/audit/seal.ts'
import { createAuditStream } from '#src/audit/stream.ts'
import { deliver, formatSyslog, SyslogFailed } from '#src/audit/syslog.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { ensureSigningKeys } from '#src/keys/signing-keys.ts'
import { createStatementSigner } from '#src/keys/statement-signer.ts'
import { createLog } from '#src/log.ts'
import { clearAudit } from '#test/support/audit.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { runNode } from '#test/support/processes.ts'
import { makeCertificate } from '#test/support/tls.ts'

const secretKeys = createSecretKeys([randomBytes(32)])
let own: TestDatabase
let receiver: Receiver | undefined
let now = new Date()
beforeAll(async () => {
  own = await createTestDatabase()
  await ensureSigningKeys(own.database, secretKeys, new Date())
  await clearAudit(own.database)
})
afterAll(() => own.drop())
afterEach(async () => {
  await receiver?.close()
  receiver = undefined
  now = new Date()
  await clearAudit(own.database)
})

type Receiver = { port: number; messages: string[]; connections: number; close(): Promise<void> }

/** Takes frames of RFC 6587 3.4.1, `<length> <message>`. @param handle what it does with a connection instead of reading it to its end. */
async function receive(
  options: { handle?: (socket: Socket, number: number) => boolean; tls?: { key: Buffer; cert: Buffer } } = {},
): Promise<Receiver> {
  const open = new Set<Socket>()
  const take = (socket: Socket) => {
    open.add(socket)
    made.connections += 1
    socket.on('error', () => undefined)
    if (options.handle?.(socket, made.connections)) return
    let bytes = Buffer.alloc(0)
    socket.once('end', () => socket.end())
    socket.on('data', (more) => {
      bytes = Buffer.concat([bytes, more as Buffer])
      for (;;) {
        const space = bytes.indexOf(' ')
        const length = Number(bytes.subarray(0, space))
        if (space < 1 || bytes.length < space + 1 + length) return
        made.messages.push(bytes.subarray(space + 1, space + 1 + length).toString('latin1'))
        bytes = bytes.subarray(space + 1 + length)
      }
    })
  }
  const server: Server = options.tls ? createTlsServer(options.tls, take) : createServer({ allowHalfOpen: true }, take)
  const made: Receiver = {
    port: 0,
    messages: [],
    connections: 0,
    async close() {
      for (const socket of open) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  made.port = (server.address() as AddressInfo).port
  return made
}

const write = (count: number, outcome = 'success') =>
  own.database.pool.query(
    `INSERT INTO audit_event (event, outcome, user_agent, detail) SELECT 'user.updated', $2, 'é 😀', jsonb_build_object('n', n) FROM generate_series(1, $1::int) n`,
    [count, outcome],
  )
const streamTo = (port: number, lines: string[] = []) =>
  createAuditStream({
    ...{ database: own.database, host: 'id.example.com', now: () => now },
    target: { host: 'localhost', port, tls: false },
    log: createLog({ logLevel: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line).event) }),
  })
const send = (port: number) => streamTo(port).run(new AbortController().signal)
const bodies = (of: Receiver) => of.messages.map((message) => JSON.parse(message.slice(message.indexOf('{'))))

test('RFC 5424: priority, time, host, the event as MSGID, and nothing but ASCII', () => {
  const at = new Date('2026-11-26T12:00:00Z')
  expect(
    formatSyslog({
      severity: 'warning',
      at,
      host: 'id.example.com',
      id: 'login.failed',
      text: '{"a":"é\u2028😀\\n"}',
    }).toString(),
  ).toBe(
    '<108>1 2026-11-26T12:00:00.000Z id.example.com sallyport - login.failed - {"a":"\\u00e9\\u2028\\ud83d\\ude00\\n"}',
  )
  const odd = formatSyslog({ severity: 'info', at, host: '', id: `ü ${'x'.repeat(50)}`, text: '{}' }).toString()
  expect(odd).toMatch(/^<110>1 \S+ - sallyport - \?\?x{30} - \{\}$/)
})

test('every row once, in the order of the chain, with place and hash, and the checkpoint after it', async () => {
  receiver = await receive()
  await write(1_200)
  await write(1, 'failure')
  await careForChain(
    { database: own.database, sign: createStatementSigner(own.database, secretKeys), issuer: 'https://id.example.com' },
    { now },
  )
  await send(receiver.port)
  const sent = bodies(receiver)
  expect(sent).toHaveLength(1_202)
  let hash = '0'.repeat(64)
  for (const [index, { position, event, ...rest }] of sent.slice(0, -1).entries()) {
    hash = linkHash(hash, index + 1, event)
    expect([position, rest.hash]).toEqual([index + 1, hash])
  }
  expect(receiver.messages[1_200]).toMatch(/^<108>1 \S+ id\.example\.com sallyport - user\.updated - /)
  expect(sent.at(-1)).toEqual({ checkpoint: expect.stringMatching(/^eyJ/) })
  expect(await streamTo(receiver.port).isDue()).toBe(false)
  await send(receiver.port)
  expect(receiver.messages).toHaveLength(1_202)
})

test.each<[string, (socket: Socket) => void]>([
  ['breaks off at once', (socket) => socket.resetAndDestroy()],
  [
    'takes everything and breaks off before it said so',
    (socket) => {
      socket.on('data', () => setTimeout(() => socket.resetAndDestroy(), 50))
    },
  ],
  [
    'closes before it has read',
    (socket) => {
      // By then something lies there unread, so that the other side is told of a reset.
      socket.pause()
      setTimeout(() => socket.destroy(), 50)
    },
  ],
])('a receiver that %s gets all of it again', async (_what, breakOff) => {
  receiver = await receive({
    handle(socket, number) {
      if (number > 2) return false
      breakOff(socket)
      return true
    },
  })
  await write(700)
  await sealAll(own.database)
  const lines: string[] = []
  const stream = streamTo(receiver.port, lines)
  for (let tries = 0; (await stream.isDue()) && tries < 10; tries++) {
    await stream.run(new AbortController().signal)
    now = new Date(now.getTime() + 61_000)
  }
  expect([...new Set(bodies(receiver).map(({ position }) => position))]).toEqual(
    Array.from({ length: 700 }, (_, i) => i + 1),
  )
  expect(lines).toEqual(['audit.stream_lost', 'audit.stream_returned'])
})

test('while the receiver is away nothing is lost, it is asked ever more rarely, and the lag shows', async () => {
  const away = await receive()
  await away.close()
  await write(3)
  await sealAll(own.database)
  const lines: string[] = []
  const stream = streamTo(away.port, lines)
  expect(await stream.isDue()).toBe(true)
  await stream.run(new AbortController().signal)
  expect(await stream.isDue()).toBe(false)
  now = new Date(now.getTime() + 2_001)
  expect(await stream.isDue()).toBe(true)
  await stream.run(new AbortController().signal)
  now = new Date(now.getTime() + 3_900)
  expect(await stream.isDue()).toBe(false)
  expect(lines).toEqual(['audit.stream_lost'])
  expect(await auditBacklog(own.database)).toMatchObject({ unstreamedRows: 3 })
  receiver = await receive()
  await send(receiver.port) // another process, after a restart
  expect(bodies(receiver).map(({ position }) => position)).toEqual([1, 2, 3])
  expect(await auditBacklog(own.database)).toMatchObject({ unstreamedRows: 0, unstreamedSeconds: 0 })
})

test('two that send at once send each row at least once', async () => {
  receiver = await receive()
  await write(900)
  await sealAll(own.database)
  await Promise.all([send(receiver.port), send(receiver.port)])
  expect(new Set(bodies(receiver).map(({ position }) => position)).size).toBe(900)
})

test('a stop ends a delivery, and what it was about is sent by the next', async () => {
  receiver = await receive({ handle: (_socket, number) => number === 1 })
  await write(1)
  await sealAll(own.database)
  const stop = new AbortController()
  const running = streamTo(receiver.port).run(stop.signal)
  setTimeout(() => stop.abort(), 100)
  await expect(running).rejects.toThrow(SyslogFailed)
  await send(receiver.port)
  expect(bodies(receiver)).toHaveLength(1)
})

test('TLS: the certificate is checked, and what arrives is complete', async () => {
  const { key, cert, file } = makeCertificate()
  receiver = await receive({ tls: { key, cert } })
  const target = { host: 'localhost', port: receiver.port, tls: true }
  await expect(deliver(target, [Buffer.from('x')])).rejects.toThrow(/SELF_SIGNED|UNABLE_TO_VERIFY/)
  expect(receiver.messages).toEqual([])
  const program = `import { deliver } from '#src/audit/syslog.ts'
    await deliver(${JSON.stringify(target)}, Array.from({ length: 2000 }, (_, i) => Buffer.from('message ' + i)))
    console.log('delivered')`
  const running = runNode(['--input-type=module-typescript', '--eval', program], { env: { NODE_EXTRA_CA_CERTS: file } })
  await running.prints('delivered')
  expect(receiver.messages).toHaveLength(2_000)
  expect(receiver.messages.at(-1)).toBe('message 1999')
})
