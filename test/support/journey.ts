// The steps that most journeys share: begin an authorization request, sign in, agree, redeem.
import { createHash, randomBytes } from 'node:crypto'
import { request } from 'node:http'
import { expect } from 'vitest'
import type { Database } from '#src/db/database.ts'
import { furnish, password } from './installation.ts'
import { type Page, Person } from './person.ts'

export type Tokens = {
  access_token: string
  refresh_token?: string
  id_token?: string
  scope?: string
  expires_in: number
  token_type: string
}
export type Answer = {
  status: number
  body: Tokens & { error?: string; error_description?: string; active?: boolean } & Record<string, unknown>
  headers: Headers
}

export type Journey = Awaited<ReturnType<typeof startJourney>>

/** @param server with nothing in it yet; `settle` returns when it knows of changed configuration. */
export async function startJourney(server: { url: string; database: Database; settle: () => Promise<unknown> }) {
  const home = await furnish(server)
  const basic = (clientId: string, secret = home.secret) =>
    `Basic ${Buffer.from(`${clientId}:${secret}`).toString('base64')}`

  /** A form post as a client; client `shop-spa` is public, all others use HTTP Basic. */
  async function post(
    path: string,
    fields: Record<string, string> | [string, string][],
    options: { as?: string | null; origin?: string; headers?: Record<string, string> } = {},
  ): Promise<Answer> {
    const { as = 'shop-web', origin = server.url } = options
    const body = new URLSearchParams(fields as Record<string, string>)
    if (as === 'shop-spa') body.set('client_id', as)
    const headers = { ...(as !== null && as !== 'shop-spa' ? { Authorization: basic(as) } : {}), ...options.headers }
    const {
      status,
      text,
      headers: received,
    } = await postForm(new URL(path, origin), new URL(server.url).host, headers, body.toString())
    return { status, body: text.startsWith('{') ? JSON.parse(text) : { text }, headers: received }
  }

  async function begin(parameters: Record<string, string | undefined> = {}) {
    const verifier = randomBytes(32).toString('base64url')
    const query = new URLSearchParams()
    const defaults: Record<string, string | undefined> = {
      client_id: 'shop-web',
      redirect_uri: home.callback,
      response_type: 'code',
      scope: 'openid profile email',
      state: 'the state',
      nonce: 'the nonce',
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    }
    const asked = { ...defaults, ...parameters }
    if (!asked.scope?.includes('openid') && !('nonce' in parameters)) asked.nonce = undefined // an OpenID parameter
    for (const [name, value] of Object.entries(asked)) if (value !== undefined) query.append(name, value)
    return { address: `/oauth/authorize?${query}`, verifier }
  }

  /** Signs in and agrees wherever that is asked. @returns where the browser ended up. */
  async function walk(
    person: Person,
    address: string,
    agree: (offered: string[]) => string[] = (offered) => offered,
  ): Promise<Page> {
    let page = await person.open(address)
    for (let step = 0; step < 4 && page.url.startsWith(server.url); step++) {
      if (page.url.includes('/login')) page = await person.submit(page, { identifier: 'alice@example.com', password })
      else if (page.url.includes('/consent'))
        page = await person.submit(page, { decision: 'allow', scope: agree(offered(page)) })
      else break
    }
    return page
  }

  const redeem = (
    code: string,
    verifier: string,
    fields: Record<string, string> = {},
    options: Parameters<typeof post>[2] = {},
  ) =>
    post(
      '/oauth/token',
      { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: home.callback, ...fields },
      options,
    )

  async function codeFor(parameters: Record<string, string | undefined> = {}, person = new Person(server.url)) {
    const { address, verifier } = await begin(parameters)
    const page = await walk(person, address)
    const code = new URL(page.url).searchParams.get('code')
    expect(code, page.url + page.text.slice(0, 300)).toBeTruthy()
    return { code: code ?? '', verifier, person, page }
  }

  /** The whole way to tokens. */
  async function tokensFor(
    parameters: Record<string, string | undefined> = {},
    person?: Person,
    fields: Record<string, string> = {},
  ) {
    const { code, verifier, person: browser } = await codeFor(parameters, person)
    const answer = await redeem(code, verifier, fields, { as: parameters.client_id ?? 'shop-web' })
    expect(answer.body.error_description ?? '', JSON.stringify(answer.body)).toBe('')
    expect(answer.status).toBe(200)
    return { ...answer.body, person: browser, refresh: answer.body.refresh_token ?? '' }
  }

  const refresh = (token: string, fields: Record<string, string> = {}, options: Parameters<typeof post>[2] = {}) =>
    post('/oauth/token', { grant_type: 'refresh_token', refresh_token: token, ...fields }, options)
  const introspect = (token: string, as = 'shop-web', fields: Record<string, string> = {}) =>
    post('/oauth/introspect', { token, ...fields }, { as })
  const revoke = (token: string, as = 'shop-web') => post('/oauth/revoke', { token }, { as })
  const userinfo = (token: string) =>
    fetch(`${server.url}/oauth/userinfo`, { headers: { Authorization: `Bearer ${token}` } })

  return {
    ...home,
    server,
    basic,
    post,
    begin,
    walk,
    redeem,
    codeFor,
    tokensFor,
    refresh,
    introspect,
    revoke,
    userinfo,
  }
}

/** fetch would name the port it connects to; behind a proxy every process is asked under the issuer's name. */
export function postForm(
  url: URL,
  host: string,
  headers: Record<string, string>,
  body: string,
): Promise<{ status: number; text: string; headers: Headers }> {
  return new Promise((resolve, reject) => {
    const message = request(
      url,
      { method: 'POST', headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers, Host: host } },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk) => chunks.push(chunk))
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            text: Buffer.concat(chunks).toString(),
            headers: new Headers(response.headers as Record<string, string>),
          }),
        )
      },
    )
    message.on('error', reject)
    message.end(body)
  })
}

/** The scopes that a consent page lets one choose. */
export function offered(page: Page): string[] {
  return [...page.text.matchAll(/<input[^>]*name="scope"[^>]*>/g)].map(
    ([tag]) => /value="([^"]*)"/.exec(tag)?.[1] ?? '',
  )
}
