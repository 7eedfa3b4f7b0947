// Discovery and keys, as bytes. The engine writes each document once for every configuration; afterwards it leaves as it is, with an
// ETag, and plain requests for it do not enter the application at all. Readers may keep a document for a while: the time is well
// below that between the announcement of a signing key and its first use, so no verifier misses one.
//
// Order of events: inFrontOf (bytes there, request plain?) -> else the whole application -> middleware (bytes there?) -> else the
// engine, whose answer is kept.
import { createHash, randomUUID } from 'node:crypto'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Context, Middleware, Next } from 'koa'
import type { Config } from '#src/config.ts'
import { pageless } from '#src/http/security-headers.ts'
import { keysMaxAgeSeconds } from '#src/keys/key-rotation.ts'
import type { ServerLog } from '#src/log.ts'
import type { Engine, ProviderSource } from './provider.ts'

const paths = new Set(['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server', '/oauth/jwks'])

/** ASCII, so that Node sends it in one piece with the headers: a buffer would be a second one. */
type Answer = { body: string; etag: string; headers: string[] }

export type ReadyAnswers = {
  middleware: Middleware
  /** @param listener what answers everything else. */
  inFrontOf(listener: RequestListener): RequestListener
}

export function createReadyAnswers(deps: {
  config: Pick<Config, 'issuerUrl' | 'https'>
  providers: Pick<ProviderSource, 'current'>
  log: ServerLog
}): ReadyAnswers {
  const { config, providers, log } = deps
  const host = new URL(config.issuerUrl).host
  const kept = new WeakMap<Engine, Map<string, Answer>>()
  const answersOf = (engine: Engine) => {
    let answers = kept.get(engine)
    if (!answers) {
      answers = new Map()
      kept.set(engine, answers)
    }
    return answers
  }

  return {
    middleware: (ctx, next) => (paths.has(ctx.path) ? keep(ctx, next) : next()),

    inFrontOf(listener) {
      return (req, res) => {
        const answer = isPlain(req, host) ? kept.get(providers.current())?.get(req.url ?? '') : undefined
        if (answer) send(req, res, answer, log)
        else listener(req, res)
      }
    },
  }

  async function keep(ctx: Context, next: Next): Promise<void> {
    const answers = answersOf(providers.current())
    await next()
    if (ctx.status !== 200 || ctx.method !== 'GET') return
    let answer = answers.get(ctx.path)
    if (!answer) {
      const body = JSON.stringify(ctx.body).replace(/[\u0080-\uffff]/g, escaped)
      const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`
      const type = String(ctx.response.get('Content-Type'))
      answer = { body, etag, headers: headersOf(config, { type, etag, length: body.length }) }
      answers.set(ctx.path, answer)
    }
    ctx.body = answer.body // the same bytes as from then on
    ctx.set('Cache-Control', `public, max-age=${keysMaxAgeSeconds}`)
    ctx.set('ETag', answer.etag)
    if (ctx.get('If-None-Match') === answer.etag) ctx.status = 304
  }
}

/** Nothing about it is unusual: one Host, ours, and nothing that another layer would have to look at. */
function isPlain(req: IncomingMessage, host: string): boolean {
  if (req.method !== 'GET' || req.headers.host !== host || req.headers['transfer-encoding'] !== undefined) return false
  if (!paths.has(req.url ?? '') || (req.headers['content-length'] ?? '0') !== '0') return false
  let hosts = 0
  const { rawHeaders } = req
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.length === 4 && rawHeaders[i]?.toLowerCase() === 'host') hosts++
  return hosts === 1
}

function send(req: IncomingMessage, res: ServerResponse, { body, etag, headers }: Answer, log: ServerLog): void {
  const startedAt = performance.now()
  const requestId = randomUUID()
  const fresh = req.headers['if-none-match'] === etag
  if (fresh)
    res
      .writeHead(304, [
        'X-Request-Id',
        requestId,
        'ETag',
        etag,
        'Cache-Control',
        `public, max-age=${keysMaxAgeSeconds}`,
      ])
      .end()
  else res.writeHead(200, ['X-Request-Id', requestId, ...headers]).end(body, 'latin1')
  const ms = Math.round((performance.now() - startedAt) * 10) / 10
  log.requestCompleted({ requestId, method: 'GET', path: req.url ?? '', status: fresh ? 304 : 200, ms })
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** What the application would have sent. */
function headersOf(config: Pick<Config, 'https'>, own: { type: string; etag: string; length: number }): string[] {
  return Object.entries({
    ...pageless(config),
    'Content-Type': own.type,
    'Content-Length': String(own.length),
    'Cache-Control': `public, max-age=${keysMaxAgeSeconds}`,
    ETag: own.etag,
    'Access-Control-Allow-Origin': '*', // public documents, for whoever verifies tokens in a browser
  }).flat()
}
