// Calls of the API under probe, bounded in everything: how many, how fast, how long, how much is read. Redirects are looked at, never followed:
// they could lead a token anywhere.
import { type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { setTimeout as pause } from 'node:timers/promises'

/** @param failed there was no answer: why. Then `status` is 0. */
export type Answer = Readonly<{
  status: number
  challenge: string | undefined
  location: string | undefined
  body: string
  failed?: string
}>

/** @param headers as they are sent: one name may come twice. @param evenStopped what has to be put right happens after a stop, too. */
export type Call = Readonly<{
  method: string
  path: string
  headers?: readonly (readonly [name: string, value: string])[]
  body?: string | undefined
  evenStopped?: boolean
}>

export type Wire = { call(call: Call): Promise<Answer>; readonly requests: number }

export type WireLimits = Readonly<{
  perSecond: number
  mostRequests: number
  timeoutSeconds: number
  mostSeconds: number
  mostBytes: number
}>

export const usualLimits: WireLimits = Object.freeze({
  perSecond: 20,
  mostRequests: 2_000,
  timeoutSeconds: 5,
  mostSeconds: 200, // the tokens that are sent live five minutes
  mostBytes: 65_536,
})

/** Told to stop, or at one of its limits: what was found so far stands. */
export class ProbeStopped extends Error {
  override name = 'ProbeStopped'
}

/** @param base the paths of the document stand behind it. */
export function createWire(base: URL, limits: WireLimits, stop: AbortSignal): Wire {
  const { perSecond, mostRequests, timeoutSeconds, mostSeconds, mostBytes } = limits
  const ask = base.protocol === 'https:' ? requestHttps : requestHttp
  const endsAt = performance.now() + mostSeconds * 1000
  let requests = 0
  let nextAt = 0

  async function call(made: Call): Promise<Answer> {
    const { evenStopped = false } = made
    if (!evenStopped) {
      if (stop.aborted) throw new ProbeStopped('it was told to stop')
      if (requests >= mostRequests) throw new ProbeStopped(`${mostRequests} requests were made`)
      if (performance.now() >= endsAt) throw new ProbeStopped(`${mostSeconds} seconds were over`)
    }
    const wait = nextAt - performance.now()
    if (wait > 0) await pause(wait)
    nextAt = performance.now() + 1000 / perSecond
    requests++
    return send(made)
  }

  function send({ method, path, headers = [], body }: Call): Promise<Answer> {
    const target = new URL(base.href.replace(/\/$/, '') + path)
    const own = {
      Host: base.host,
      Accept: 'application/json',
      Connection: 'close',
      'User-Agent': 'sallyport-probe',
      ...(body !== undefined && { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }),
    }
    const raw = [...Object.entries(own), ...headers].flatMap(([name, value]) => [name, String(value)])
    return new Promise((resolve) => {
      const options = { method, headers: raw, agent: false, signal: AbortSignal.timeout(timeoutSeconds * 1000) }
      const chunks: Buffer[] = []
      let seen: IncomingMessage | undefined
      // Once there is a status it counts, however the rest ends: some answers never do.
      const end = (error?: NodeJS.ErrnoException) =>
        resolve({
          status: seen?.statusCode ?? 0,
          challenge: seen?.headers['www-authenticate'],
          location: seen?.headers.location,
          body: Buffer.concat(chunks).toString('utf8'),
          ...(seen === undefined && { failed: reasonOf(error) }),
        })
      const sent = ask(target, options as object, (response) => {
        seen = response
        let length = 0
        response.on('data', (chunk: Buffer) => {
          chunks.push(chunk.subarray(0, mostBytes - length))
          length += chunk.length
          if (length < mostBytes) return
          end()
          response.destroy()
        })
        response.on('end', end)
        response.on('error', end)
      })
      sent.on('error', end)
      sent.end(body)
    })
  }

  return {
    call,
    get requests() {
      return requests
    },
  }
}

function reasonOf(error: NodeJS.ErrnoException | undefined): string {
  if (error?.name === 'AbortError' || error?.name === 'TimeoutError') return 'no answer in time'
  return error?.code ?? 'connection lost'
}
