// What the guard asks the issuer, over HTTP: where its endpoints are, its keys, and answers. Its troubles are never the caller's.
import { createRemoteJWKSet, customFetch, type JWTVerifyGetKey } from 'jose'

/** The issuer did not answer, or not in a way that can be believed. */
export class IssuerTrouble extends Error {
  override name = 'IssuerTrouble'
}

export type Issuer = Readonly<{
  /** @throws IssuerTrouble */
  keys: JWTVerifyGetKey
  /** @param body a form, or an object that is sent as JSON. @returns the JSON of a 200. @throws IssuerTrouble */
  post(
    url: string,
    headers: Record<string, string>,
    body: URLSearchParams | object,
  ): Promise<Readonly<Record<string, unknown>>>
  introspectionEndpoint(): Promise<string>
  evaluationEndpoint: string
  /** Reads the discovery document, once. @throws IssuerTrouble */
  discover(): Promise<void>
}>

type Metadata = { jwksUri: string; introspectionEndpoint: string | undefined }
type Settings = { issuer: string; timeoutMs: number; fetch: typeof fetch; now: () => number }

/** How long one failure stands for all who ask, in milliseconds: a flood of requests must not become a flood at the issuer. */
const pauseMs = 500

export function createIssuer(settings: Settings): Issuer {
  const { issuer, timeoutMs, now } = settings
  let metadata: Promise<Metadata> | undefined
  let failedAt = Number.NEGATIVE_INFINITY
  let keys: JWTVerifyGetKey | undefined

  function discover(): Promise<Metadata> {
    if (metadata === undefined || (failedAt > 0 && now() - failedAt > pauseMs)) {
      failedAt = Number.NEGATIVE_INFINITY
      metadata = readMetadata(settings)
      metadata.catch(() => {
        failedAt = now()
      })
    }
    return metadata
  }

  return {
    evaluationEndpoint: `${issuer}/access/v1/evaluation`,

    async keys(header, token) {
      if (!keys) {
        const { jwksUri } = await discover()
        keys ??= createRemoteJWKSet(new URL(jwksUri), { timeoutDuration: timeoutMs, [customFetch]: settings.fetch })
      }
      return keys(header, token)
    },

    async introspectionEndpoint() {
      const { introspectionEndpoint } = await discover()
      if (introspectionEndpoint === undefined) throw new IssuerTrouble(`${issuer} names no introspection endpoint`)
      return introspectionEndpoint
    },

    async post(url, headers, body) {
      const form = body instanceof URLSearchParams
      return readJson(settings, url, {
        method: 'POST',
        headers: { 'content-type': `application/${form ? 'x-www-form-urlencoded' : 'json'}`, ...headers },
        body: form ? body.toString() : JSON.stringify(body),
      })
    },

    async discover() {
      await discover()
    },
  }
}

async function readMetadata(settings: Settings): Promise<Metadata> {
  const { issuer } = settings
  // RFC 8414 3.1: the well-known part goes between the host and the path of the issuer.
  const { origin, pathname } = new URL(issuer)
  const path = pathname === '/' ? '' : pathname
  const document = await readJson(settings, `${origin}/.well-known/oauth-authorization-server${path}`, {})
  // RFC 8414 3.3: a document that names another issuer is not this issuer's.
  if (document.issuer !== issuer || typeof document.jwks_uri !== 'string')
    throw new IssuerTrouble(`the discovery document at ${issuer} is not that of ${issuer}`)
  const { introspection_endpoint: introspection } = document
  return {
    jwksUri: safeAddress(document.jwks_uri).href,
    introspectionEndpoint: typeof introspection === 'string' ? safeAddress(introspection).href : undefined,
  }
}

async function readJson(
  settings: Settings,
  url: string,
  init: RequestInit,
): Promise<Readonly<Record<string, unknown>>> {
  try {
    const response = await settings.fetch(url, {
      ...init,
      redirect: 'error', // our secret goes where we sent it, and nowhere else
      signal: AbortSignal.timeout(settings.timeoutMs),
    })
    if (response.status !== 200) {
      await response.body?.cancel()
      throw new IssuerTrouble(`${url} answered ${response.status}`)
    }
    const body: unknown = await response.json()
    if (typeof body !== 'object' || body === null || Array.isArray(body))
      throw new IssuerTrouble(`${url} answered something other than an object`)
    return body as Record<string, unknown>
  } catch (error) {
    throw error instanceof IssuerTrouble ? error : new IssuerTrouble(`${url} did not answer`, { cause: error })
  }
}

/** @throws TypeError for an address over which keys and secrets must not travel. */
export function safeAddress(address: string): URL {
  const url = new URL(address)
  const loopback = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(url.hostname)
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && loopback))
    throw new TypeError(`${address} must be https (http is for this machine only)`)
  return url
}

/** RFC 6749 2.3.1: id and secret are form-encoded before they are joined. */
export function basic({ clientId, clientSecret }: { clientId: string; clientSecret: string }): string {
  return `Basic ${btoa(`${encodeForm(clientId)}:${encodeForm(clientSecret)}`)}`
}

function encodeForm(value: string): string {
  return new URLSearchParams([['', value]]).toString().slice(1)
}
