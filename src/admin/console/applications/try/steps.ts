// The steps of a trial as they really happen: requests to this very server, by its public address, as an application would send them.
// What is shown of a token is its beginning and what it says; nothing of it is kept or logged.
import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose'
import type { MessageKey } from '#src/http/i18n.ts'

export type Field = { name: string; value: string }
export type Step = {
  title: MessageKey
  ok: boolean
  request?: { method: string; url: string; fields: readonly Field[] }
  status?: number
  /** JSON, tokens shortened. */
  answer?: string
  /** What would mend it. */
  mend?: MessageKey
  /** In the words of the protocol. */
  detail?: string
}

export type Tokens = { access_token?: string; id_token?: string; refresh_token?: string }
export type Who = { issuer: string; clientId: string; secret: string | undefined }

const secretNames = ['access_token', 'id_token', 'refresh_token', 'code', 'code_verifier', 'token']

export const shorten = (value: string): string => (value.length > 14 ? `${value.slice(0, 10)}… (${value.length})` : '…')

export const shownFields = (fields: Readonly<Record<string, string>>): Field[] =>
  Object.entries(fields).map(([name, value]) => ({ name, value: secretNames.includes(name) ? shorten(value) : value }))

const shownJson = (body: object): string =>
  JSON.stringify(
    body,
    (name, value) => (secretNames.includes(name) && typeof value === 'string' ? shorten(value) : value),
    2,
  )

const mends: Readonly<Record<string, MessageKey>> = {
  access_denied: 'console.applications.try.mend.denied',
  invalid_client: 'console.applications.try.mend.client',
  invalid_scope: 'console.applications.try.mend.scope',
  invalid_target: 'console.applications.try.mend.scope',
}
export const mendOf = (error: string): MessageKey => mends[error] ?? 'console.applications.try.mend.other'

type Answer = { step: Step; body: Record<string, unknown> }

/** @param options.patience how often a refused client is tried again: another process may not know of its secret yet. */
export async function post(
  who: Who,
  title: MessageKey,
  path: string,
  fields: Record<string, string>,
  options: { patience?: number } = {},
): Promise<Answer> {
  const url = who.issuer + path
  const sent = who.secret === undefined ? { ...fields, client_id: who.clientId } : fields
  const request = {
    method: 'POST',
    url,
    fields: [...(who.secret === undefined ? [] : [{ name: 'Authorization', value: 'Basic …' }]), ...shownFields(sent)],
  }
  const headers: Record<string, string> =
    who.secret === undefined
      ? {}
      : { authorization: `Basic ${btoa([who.clientId, who.secret].map(encodeURIComponent).join(':'))}` }
  const answer = await ask(title, request, { method: 'POST', headers, body: new URLSearchParams(sent) })
  if (answer.step.status !== 401 || !options.patience) return answer
  await new Promise((resolve) => setTimeout(resolve, 250))
  return post(who, title, path, fields, { patience: options.patience - 1 })
}

export function get(title: MessageKey, url: string, token?: string): Promise<Answer> {
  const fields = token === undefined ? [] : [{ name: 'Authorization', value: `Bearer ${shorten(token)}` }]
  const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` }
  return ask(title, { method: 'GET', url, fields }, { headers })
}

async function ask(title: MessageKey, request: NonNullable<Step['request']>, init: RequestInit): Promise<Answer> {
  try {
    const response = await fetch(request.url, { ...init, redirect: 'manual', signal: AbortSignal.timeout(10_000) })
    const text = await response.text()
    const body = (text.startsWith('{') ? JSON.parse(text) : {}) as Record<string, unknown>
    const step: Step = {
      ...{ title, request, ok: response.ok, status: response.status },
      ...(Object.keys(body).length > 0 && { answer: shownJson(body) }),
      ...(!response.ok && { mend: mendOf(String(body.error)) }),
    }
    return { step, body }
  } catch (error) {
    const detail = error instanceof Error ? error.message : ''
    return { step: { title, request, ok: false, mend: 'console.applications.try.mend.away', detail }, body: {} }
  }
}

/** Its claims, and whether a key of the issuer signed it. @returns undefined for a token that is not a JWT, and so says nothing itself. */
export async function verify(
  title: MessageKey,
  token: string,
  keys: Record<string, unknown>,
  expected: { issuer: string; audience?: string; nonce?: string },
): Promise<Step | undefined> {
  if (token.split('.').length !== 3) return undefined
  const { nonce, ...options } = expected
  const header = decodeProtectedHeader(token)
  const answer = JSON.stringify({ header, claims: decodeJwt(token) }, null, 2)
  try {
    const { payload } = await jwtVerify(token, createLocalJWKSet(keys as unknown as JSONWebKeySet), options)
    const ok = nonce === undefined || payload.nonce === nonce
    return { title, ok, answer, detail: `kid ${header.kid}, ${header.alg}`, ...(!ok && { mend: mendOf('nonce') }) }
  } catch (error) {
    const detail = error instanceof Error ? error.message : ''
    return { title, ok: false, answer, detail, mend: 'console.applications.try.mend.signature' }
  }
}

/** What a verifier looks for: which keys there are. */
const namesOf = ({ keys }: Record<string, unknown>): object =>
  Array.isArray(keys) ? { keys: keys.map(({ kid, alg, use }) => ({ kid, alg, use })) } : {}

/** What follows once there are tokens: what they say, who asks about them, and that they end. */
export async function examine(
  who: Who,
  tokens: Tokens,
  asked: { nonce?: string; resource?: string | undefined },
): Promise<Step[]> {
  const steps: Step[] = []
  const keys = await get('console.applications.try.keys', `${who.issuer}/oauth/jwks`)
  steps.push({ ...keys.step, answer: shownJson(namesOf(keys.body)) })
  const { access_token: access, id_token: id, refresh_token: refresh } = tokens
  if (id !== undefined) {
    const { nonce } = asked
    const expected = { issuer: who.issuer, audience: who.clientId, ...(nonce !== undefined && { nonce }) }
    const step = await verify('console.applications.try.idToken', id, keys.body, expected)
    if (step) steps.push(step)
  }
  if (access !== undefined) {
    const audience = asked.resource === undefined ? {} : { audience: asked.resource }
    const step = await verify('console.applications.try.accessToken', access, keys.body, {
      issuer: who.issuer,
      ...audience,
    })
    if (step) steps.push(step)
    if (id !== undefined && asked.resource === undefined)
      steps.push((await get('console.applications.try.userinfo', `${who.issuer}/oauth/userinfo`, access)).step)
    if (who.secret !== undefined) {
      const { step: looked, body } = await post(who, 'console.applications.try.introspect', '/oauth/introspect', {
        token: access,
      })
      steps.push({ ...looked, ok: looked.ok && body.active === true })
    }
  }
  for (const token of [refresh, access])
    if (token !== undefined)
      steps.push((await post(who, 'console.applications.try.revoke', '/oauth/revoke', { token })).step)
  return steps
}
