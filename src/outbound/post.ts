// One POST to somewhere else, and what came of it. The address that a name stands for is looked up once, judged, and connected to: a name that
// means another address a moment later gains nothing. No redirect is followed, no connection is kept, no proxy of the environment is used,
// and of the answer no more is read than the caller wants to keep.
import { type LookupAddress, lookup } from 'node:dns'
import { type ClientRequest, type IncomingMessage, request as requestPlain } from 'node:http'
import { request as requestTls } from 'node:https'
import { isIP, type LookupFunction, type Socket } from 'node:net'
import { type AddressGuard, isLoopback } from './networks.ts'

export type Posted = {
  status: number
  /** How it begins, as text that can be stored. */
  answer: string
  retryAfter: string | undefined
}

/** `reason` is a word of ours or a code of the system: never the address, which may hold a secret. */
export class NotPosted extends Error {
  override name = 'NotPosted'
  readonly reason: string
  /** False: nothing of it can have arrived. */
  readonly mayHaveLeft: boolean
  constructor(reason: string, { mayHaveLeft }: { mayHaveLeft: boolean }) {
    super(`not posted: ${reason}`)
    this.reason = reason
    this.mayHaveLeft = mayHaveLeft
  }
}

/** How names are looked up; a test has others. */
export type Resolve = (
  name: string,
  done: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void

export type PostOptions = {
  headers: Readonly<Record<string, string>>
  /** For the whole of it. */
  milliseconds: number
  /** Left out: wherever the operator's configuration says. With it, plain http is for loopback alone. */
  guard?: AddressGuard | undefined
  /** Bytes of the answer to keep. */
  answerBytes?: number
  signal?: AbortSignal | undefined
  resolve?: Resolve | undefined
}

const forbidden = 'address_not_allowed'

const resolveBySystem: Resolve = (name, done) => lookup(name, { all: true }, done)

/** @throws NotPosted when there was no answer. */
export function post(url: string, body: string, options: PostOptions): Promise<Posted> {
  const { headers, milliseconds, answerBytes = 0, signal } = options
  const target = new URL(url)
  const plain = target.protocol === 'http:'
  const { guard } = options
  const allows = guard && ((address: string) => guard(address) && (!plain || isLoopback(address)))
  const { promise, resolve, reject } = Promise.withResolvers<Posted>()
  const deadline = AbortSignal.timeout(milliseconds)
  let sent = false
  let answered = false
  const fail = (reason: string) => reject(new NotPosted(reason, { mayHaveLeft: sent }))

  // A number in place of a name is not looked up, so it is judged here. (URL has written 2130706433 and 0x7f.1 as what they mean.)
  const literal = target.hostname.replace(/^\[|\]$/g, '')
  if (allows && isIP(literal) && !allows(literal)) {
    fail(forbidden)
    return promise
  }
  const request: ClientRequest = (plain ? requestPlain : requestTls)(target, {
    method: 'POST',
    agent: false,
    maxHeaderSize: 16_384,
    lookup: lookUp(options.resolve ?? resolveBySystem, allows),
    signal: signal ? AbortSignal.any([deadline, signal]) : deadline,
    headers: {
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(body),
      'User-Agent': 'Sallyport',
      Connection: 'close',
      ...headers,
    },
  })
  request.on('socket', (socket: Socket) => {
    socket.once(plain ? 'connect' : 'secureConnect', () => {
      // What was judged is what was connected to; looked at once more, because everything hangs on it.
      if (allows && !allows(socket.remoteAddress ?? '')) return request.destroy(coded(forbidden))
      sent = true
      return undefined
    })
  })
  request.on('error', (error: NodeJS.ErrnoException) => {
    if (answered) return // the answer has ended, and is read as far as it came
    if (deadline.aborted) fail('timeout')
    else fail(signal?.aborted ? 'interrupted' : (error.code ?? 'unreachable'))
  })
  request.on('response', (response) => {
    answered = true
    void read(response, answerBytes).then((answer) => {
      resolve({ status: response.statusCode ?? 0, answer, retryAfter: response.headers['retry-after'] })
      request.destroy()
    })
  })
  // Before the connection is allowed nothing may leave: the body waits for it with the rest.
  request.end(body)
  return promise
}

/** Resolves with what there was when enough was read, or the answer ended in whatever way: the status has been said. */
function read(response: IncomingMessage, most: number): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  const { promise, resolve } = Promise.withResolvers<string>()
  const finish = () => resolve(textOf(Buffer.concat(chunks).subarray(0, most)))
  if (most === 0) finish()
  response.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes >= most) finish()
  })
  response.once('end', finish)
  response.once('error', finish)
  response.once('close', finish)
  return promise
}

/** PostgreSQL stores no NUL; a character that was cut in two is left out. */
function textOf(bytes: Buffer): string {
  return bytes
    .toString('utf8')
    .replace(/\ufffd$/, '')
    .replaceAll('\0', '\ufffd')
}

/** One address that is not allowed refuses the name: whoever has a name point there as well means no good. */
function lookUp(resolve: Resolve, allows: AddressGuard | undefined): LookupFunction {
  return (name, options, done) => {
    resolve(name, (error, addresses) => {
      const first = addresses?.[0]
      if (error || !first) return done(error ?? coded('ENOTFOUND'), '', 0)
      if (allows && !addresses.every(({ address }) => allows(address))) return done(coded(forbidden), '', 0)
      // Both forms are asked for: all by connections that try several, one by the others.
      return options.all
        ? (done as unknown as (error: null, addresses: LookupAddress[]) => void)(null, addresses)
        : done(null, first.address, first.family)
    })
  }
}

const coded = (code: string): NodeJS.ErrnoException => Object.assign(new Error(code), { code })
