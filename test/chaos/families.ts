// Token families to try faults on, and what a client does with them. A family is one grant: a seat is a person's session, and holds
// one family at a time for each client.
import { orders } from '#test/support/installation.ts'
import { Person } from '#test/support/person.ts'
import type { Installation } from './installation.ts'
import { clients } from './installation.ts'
import type { Answer } from './traffic.ts'

/** `resource`: the API that its access tokens are for, which makes them JWTs; otherwise they are opaque and for userinfo. */
export type Family = { clientId: string; refresh: string; access: string; resource?: string }

export type Seats = Awaited<ReturnType<typeof openSeats>>

/** A session that began many grants looks for a new name ever longer: people sign in again now and then. */
const grantsPerSession = 8

/** @param count how many families may be alive at once. The server must be running. */
export async function openSeats({ journey }: Installation, count: number) {
  /** One after the other: a few passwords of one person at a time is all that is evaluated (docs/decisions/020). */
  let signedIn: Promise<unknown> = Promise.resolve()
  const free: { person: Person; begun: number }[] = []
  for (let n = 0; n < count; n++) free.push(await signIn())

  function signIn() {
    const next = signedIn.then(async () => {
      const person = new Person(journey.server.url)
      await journey.codeFor({}, person)
      return { person, begun: 0 }
    })
    signedIn = next.catch(() => undefined)
    return next
  }

  /** Takes a seat that nobody else sits in. */
  async function take(): Promise<{ person: Person; leave(): void }> {
    const seat = free.pop()
    if (!seat) throw new Error(`all ${count} seats are taken`)
    if (seat.begun++ >= grantsPerSession) Object.assign(seat, await signIn())
    return { person: seat.person, leave: () => free.push(seat) }
  }

  return {
    take,
    async with<T>(use: (person: Person) => Promise<T>): Promise<T> {
      const { person, leave } = await take()
      try {
        return await use(person)
      } finally {
        leave()
      }
    },
  }
}

/** The whole way to tokens, signed in already. */
export async function beginFamily(
  { journey }: Installation,
  person: Person,
  options: { clientId?: string; jwt?: boolean } = {},
): Promise<Family> {
  const { clientId = clients.lenient, jwt = false } = options
  const target: { resource?: string } = jwt ? { resource: orders } : {}
  const scope = jwt ? { scope: 'openid orders:read' } : {}
  const tokens = await journey.tokensFor({ client_id: clientId, ...scope, ...target }, person, target)
  return { clientId, refresh: tokens.refresh, access: tokens.access_token, ...target }
}

/** What a client can ask, of one of the two processes. */
export function asking({ journey, traffic }: Pick<Installation, 'journey' | 'traffic'>) {
  const post = (process: number, path: string, clientId: string, form: Record<string, string>, signal?: AbortSignal) =>
    traffic.send(process, { path, form, headers: { Authorization: journey.basic(clientId) } }, signal)
  return {
    refresh: (
      process: number,
      { clientId, refresh, resource }: Pick<Family, 'clientId' | 'refresh' | 'resource'>,
      signal?: AbortSignal,
    ) =>
      post(
        process,
        '/oauth/token',
        clientId,
        { grant_type: 'refresh_token', refresh_token: refresh, ...(resource ? { resource } : {}) },
        signal,
      ),
    redeem: (process: number, clientId: string, code: string, verifier: string) =>
      post(process, '/oauth/token', clientId, {
        grant_type: 'authorization_code',
        code,
        code_verifier: verifier,
        redirect_uri: journey.callback,
      }),
    introspect: (process: number, clientId: string, token: string) =>
      post(process, '/oauth/introspect', clientId, { token }),
    revoke: (process: number, clientId: string, token: string) => post(process, '/oauth/revoke', clientId, { token }),
    userinfo: (process: number, access: string) =>
      traffic.send(process, { path: '/oauth/userinfo', headers: { Authorization: `Bearer ${access}` } }),
  }
}

/** The family as it stands after a successful refresh. */
export function advanced(family: Family, answer: Answer): Family {
  return { ...family, refresh: String(answer.body.refresh_token), access: String(answer.body.access_token) }
}
