// One introspection for every credential (RFC 7662): API keys, the secret of a service client as an API received it by Basic, a gateway's session.
// The engine authenticates whoever asks and answers about tokens; about what is none it says {"active":false}, and then it is looked at here,
// by the same first door as everywhere. The shape is that of a token's answer, with `auth_method`: oauth | api_key | basic | session.
//
// Who may look is the rule for tokens (introspection.ts): a resource server, about what is meant for an API that names it, and whoever the
// credential belongs to. What an API does not accept is inactive for it, and scopes by role are those that are held now.
import type { Context, Middleware } from 'koa'
import { effectiveScopes, type Subject } from '#src/access/decide.ts'
import { holdingsOf } from '#src/access/holdings.ts'
import type { ApiRecord } from '#src/apis/apis.ts'
import { parseBasic, type Credential as Shown } from '#src/http/credentials.ts'
import { type IdentifyDeps, identify } from './identify.ts'
import type { Snapshot } from './snapshot.ts'

export type EveryCredentialDeps = IdentifyDeps & {
  issuer: string
  snapshot: () => Snapshot
  /** By the cookie of a protected host. */
  findSession(host: string, value: string, api: ApiRecord): Promise<Subject | undefined>
}

type Asked = { token?: unknown; token_type_hint?: unknown; host?: unknown }
type Answer = Record<string, unknown> & { active: boolean }

/** Goes in front of jwt-tokens.ts, which leaves the fields of the request in `ctx.state.introspected`. */
export function introspectEveryCredential(deps: EveryCredentialDeps): Middleware {
  return async (ctx, next) => {
    await next()
    const asked = ctx.state.introspected as Asked | undefined
    const answer = ctx.body as Answer | undefined
    if (!asked || ctx.status !== 200 || typeof answer?.active !== 'boolean') return
    const clientId = (ctx as Context & { oidc?: { client?: { clientId: string } } }).oidc?.client?.clientId
    if (clientId === undefined) return
    ctx.body = answer.active ? await ofToken(answer, clientId) : ((await ofOther(asked, clientId)) ?? answer)
  }

  async function ofToken(answer: Answer, clientId: string): Promise<Answer> {
    const api = typeof answer.aud === 'string' ? deps.snapshot().apis.get(answer.aud) : undefined
    if (api && answer.client_id !== clientId && !api.accept.includes('oauth')) return { active: false }
    const { sub, scope } = answer
    const isPersons = typeof sub === 'string' && sub !== answer.client_id
    if (!api || !isPersons || typeof scope !== 'string') return { ...answer, auth_method: 'oauth' }
    const held = await scopesNow(api, { kind: 'user', id: sub }, scope.split(' '))
    return { ...answer, scope: held.join(' '), auth_method: 'oauth' }
  }

  async function ofOther({ token, token_type_hint: hint, host }: Asked, clientId: string): Promise<Answer | undefined> {
    if (typeof token !== 'string') return undefined
    const { apis } = deps.snapshot()
    const named = [...apis.values()].filter((api) => api.introspectionClients.some((row) => row.clientId === clientId))
    if (hint === 'session') {
      if (typeof host !== 'string') return undefined
      for (const api of named) {
        const subject = api.accept.includes('session') ? await deps.findSession(host, token, api) : undefined
        if (subject) return describe(api, subject)
      }
      return undefined
    }
    const shown = shownAs(token, hint)
    if (!shown) return undefined
    const { subject, owner } = await identify(deps, shown, undefined)
    if (!subject) return undefined
    for (const api of owner === clientId ? apis.values() : named) {
      const found = await identify(deps, shown, api)
      // A service client is everybody's until an API gives it something to do.
      if (found.subject && (shown.kind !== 'basic' || found.subject.credential?.scopes.size))
        return describe(api, found.subject)
    }
    return undefined
  }

  async function describe(api: ApiRecord, subject: Subject): Promise<Answer> {
    const { credential } = subject
    const scopes = await scopesNow(api, subject, [...(credential?.scopes ?? [])])
    const { expiresAt, authenticatedAt, acrValues = [] } = credential ?? {}
    return {
      active: true,
      scope: scopes.join(' '),
      ...(credential?.clientId !== undefined && { client_id: credential.clientId }),
      sub: subject.id,
      aud: api.identifier,
      iss: deps.issuer,
      ...(expiresAt && { exp: Math.floor(expiresAt.getTime() / 1000) }),
      ...(authenticatedAt && { auth_time: Math.floor(authenticatedAt.getTime() / 1000), acr: acrValues.at(-1) }),
      auth_method: credential?.method,
    }
  }

  async function scopesNow(api: ApiRecord, { kind, id }: Subject, shown: readonly string[]): Promise<string[]> {
    if (kind !== 'user' || !api.scopes.some(({ name, byRole }) => byRole && shown.includes(name)))
      return [...shown].sort()
    const holdings = await holdingsOf(deps.database, { kind, id }, api.identifier)
    return [...effectiveScopes(api, { kind, scopes: new Set(shown) }, holdings)]
  }
}

function shownAs(token: string, hint: unknown): Shown | undefined {
  if (token.startsWith('sp_key_')) return { kind: 'api_key', value: token }
  return hint === 'basic' ? parseBasic(token) : undefined
}
