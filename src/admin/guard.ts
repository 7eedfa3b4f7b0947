// The two doors of `<issuer>/api`, in their order, on every request: who are you (400, 401), may you do this (403). A caller who is
// not identified never sees a 403.
//   read the credential -> find whom it stands for -> cut its scopes down to what they may do now -> compare with the route's scope
import type { Middleware } from 'koa'
import { findApiKey } from '#src/access/api-keys.ts'
import { permissionsOf } from '#src/access/roles.ts'
import type { AuditEntry } from '#src/audit/audit.ts'
import { findClient } from '#src/clients/clients.ts'
import { verifyClientSecret } from '#src/clients/secrets.ts'
import type { Database } from '#src/db/database.ts'
import { type Credential, readCredential } from '#src/http/credentials.ts'
import { HttpError } from '#src/http/http-error.ts'
import { requestOf } from '#src/http/request-context.ts'

export type AdminGuardDeps = {
  database: Database
  /** `<issuer>/api` */
  ownApi: string
  now: () => Date
  /** Opaque access tokens that are valid now and not bound to a key; undefined for every other value. */
  findAccessToken(value: string): Promise<AccessToken | undefined>
  /** Rows of the request's own commit. */
  audit(entry: AuditEntry): void
}

export type AccessToken = {
  clientId: string
  userId: string | undefined
  scopes: readonly string[]
  audience: string | undefined
}

/** Whom a request acts for, in `ctx.state.caller`. */
export type Caller = {
  actor: { kind: 'user' | 'client' | 'api_key'; id: string }
  clientId: string | undefined
  scopes: ReadonlySet<string>
}

/** @returns a maker of middleware that lets through callers who hold `scope`. */
export function createAdminGuard(deps: AdminGuardDeps): (scope: string) => Middleware {
  return (scope) => async (ctx, next) => {
    const credential = readCredential(ctx)
    if (credential.kind === 'none') throw unidentified(deps.ownApi, undefined)
    const caller = await identify(deps, credential)
    if (!caller) {
      // A line, not a row: strangers must not be able to fill the table.
      requestOf(ctx).log.info({ event: 'credential.refused', kind: credential.kind })
      throw unidentified(deps.ownApi, 'invalid_token')
    }
    if (!caller.scopes.has(scope)) {
      deps.audit({
        event: 'token.refused',
        outcome: 'failure',
        actor: caller.actor,
        clientId: caller.clientId,
        detail: { reason: 'insufficient_scope', scope },
      })
      throw forbidden(deps.ownApi, scope)
    }
    ctx.state.caller = caller
    await next()
  }
}

/** @returns undefined for every reason why a credential does not identify anybody; the answer does not say which. */
async function identify(deps: AdminGuardDeps, credential: Credential): Promise<Caller | undefined> {
  switch (credential.kind) {
    case 'bearer':
      return identifyByToken(deps, credential.value)
    case 'basic':
      return identifyByClientSecret(deps, credential)
    case 'api_key':
      return identifyByApiKey(deps, credential.value)
    default:
      return undefined
  }
}

async function identifyByToken(
  { database, ownApi, findAccessToken }: AdminGuardDeps,
  value: string,
): Promise<Caller | undefined> {
  const token = await findAccessToken(value)
  if (!token || token.audience !== ownApi) return undefined
  const { clientId, userId } = token
  if (userId === undefined) return { actor: { kind: 'client', id: clientId }, clientId, scopes: new Set(token.scopes) }
  // What a person let a client do is bounded by what the person may do, at this moment.
  const permitted = await permissionsOf(database.prisma, userId)
  const scopes = new Set(token.scopes.filter((scope) => permitted.has(scope)))
  return { actor: { kind: 'user', id: userId }, clientId, scopes }
}

async function identifyByClientSecret(
  { database, ownApi, now }: AdminGuardDeps,
  { clientId, clientSecret }: { clientId: string; clientSecret: string },
): Promise<Caller | undefined> {
  const client = await findClient(database.prisma, clientId)
  // Only a client that acts for itself: the secret of a web application stands for no person.
  if (client?.type !== 'service' || client.disabledAt || !verifyClientSecret(client, clientSecret, now()))
    return undefined
  const scopes = client.apiScopes.filter((row) => row.apiIdentifier === ownApi).map((row) => row.scopeName)
  return { actor: { kind: 'client', id: clientId }, clientId, scopes: new Set(scopes) }
}

async function identifyByApiKey({ database, ownApi, now }: AdminGuardDeps, value: string): Promise<Caller | undefined> {
  const key = await findApiKey(database.prisma, value, now())
  if (key?.apiIdentifier !== ownApi) return undefined
  return { actor: { kind: 'api_key', id: key.id }, clientId: key.clientId ?? undefined, scopes: new Set(key.scopes) }
}

/** RFC 6750 3: no error code for a request that carried no credential. */
function unidentified(realm: string, error: 'invalid_token' | undefined): HttpError {
  return new HttpError({
    status: 401,
    error: error ?? 'unauthorized',
    description: error
      ? 'The credential is unknown, has expired, was revoked, or is meant for another API.'
      : 'Send an access token (Authorization: Bearer), an API key (X-API-Key) or the credentials of a service client (Authorization: Basic).',
    headers: { 'WWW-Authenticate': `Bearer realm="${realm}"${error ? `, error="${error}"` : ''}` },
  })
}

/** RFC 6750 3.1. */
export function forbidden(realm: string, scope: string): HttpError {
  return new HttpError({
    status: 403,
    error: 'insufficient_scope',
    description: `This needs the scope ${scope}, which the credential or its owner does not have.`,
    headers: { 'WWW-Authenticate': `Bearer realm="${realm}", error="insufficient_scope", scope="${scope}"` },
  })
}
