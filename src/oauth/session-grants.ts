// The grant behind a session's tokens for one client, and what the person agreed to before. A grant belongs to one session, so
// that leaving on one device leaves the others alone; the agreement (consent) is remembered across sessions.
import { createHash } from 'node:crypto'
import type Provider from 'oidc-provider'
import type { Grant, KoaContextWithOIDC } from 'oidc-provider'
import { ownClientId } from '#src/clients/own-client.ts'
import type { Database } from '#src/db/database.ts'
import { readGrant } from '#src/tokens/statements.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'

export type Agreed = { scopes: readonly string[]; resourceScopes: Readonly<Record<string, readonly string[]>> }

/** @returns a grant that is not yet saved. Its id follows from session and client, so that two tabs that consent at the same
 *  moment write the same grant, not two of which the session remembers one. */
export async function newGrant(
  provider: Provider,
  about: { sessionUid: string; userId: string; clientId: string },
): Promise<Grant> {
  const unit = currentUnit()
  const isNew = !unit.sessions.has(about.sessionUid) // it begins with this request: nothing hangs from it yet
  for (let n = 0; ; n++) {
    const id = createHash('sha256')
      .update(`${about.sessionUid} ${about.clientId} ${n}`)
      .digest('base64url')
      .slice(0, 22)
    if (!isNew && (await unit.remember(`grant ${id}`, () => readGrant(unit.database.pool, id))) === 'revoked') continue
    unit.grantSessions.set(id, about.sessionUid)
    const grant = new provider.Grant({ accountId: about.userId, clientId: about.clientId })
    grant.jti = id
    return grant
  }
}

/** The engine's loadExistingGrant: the session's grant, else a new one from what the person agreed to in an earlier session. */
export function createLoadExistingGrant(database: Database) {
  return async (ctx: KoaContextWithOIDC): Promise<Grant | undefined> => {
    const { provider, client, session, account, result } = ctx.oidc
    if (!client || !session || !account) return undefined
    const id = result?.consent?.grantId ?? session.grantIdFor(client.clientId)
    const existing = id ? await provider.Grant.find(id) : undefined
    if (existing && existing.accountId === account.accountId && existing.clientId === client.clientId) return existing
    if (id && result?.consent?.grantId) return undefined
    const agreed =
      client.clientId === ownClientId ? ours : await findConsent(database, account.accountId, client.clientId)
    if (!agreed) return undefined
    const grant = await newGrant(provider, {
      sessionUid: session.uid,
      userId: account.accountId,
      clientId: client.clientId,
    })
    addScopes(grant, agreed)
    await grant.save()
    return grant
  }
}

/** Nobody needs to be asked whether our own pages may know them. */
const ours: Agreed = { scopes: ['openid'], resourceScopes: {} }

async function findConsent({ prisma }: Database, userId: string, clientId: string): Promise<Agreed | undefined> {
  const consent = await currentUnit().remember(`consent ${userId} ${clientId}`, () =>
    prisma.consent.findUnique({ where: { userId_clientId: { userId, clientId } } }),
  )
  // offline_access is asked for every time (OIDC Core 11), so it is never taken from memory.
  return consent
    ? {
        scopes: consent.scopes.filter((scope) => scope !== 'offline_access'),
        resourceScopes: consent.resourceScopes as Record<string, string[]>,
      }
    : undefined
}

function addScopes(grant: Grant, { scopes, resourceScopes }: Agreed): void {
  if (scopes.length > 0) grant.addOIDCScope(scopes.join(' '))
  for (const [resource, names] of Object.entries(resourceScopes))
    if (names.length > 0) grant.addResourceScope(resource, names.join(' '))
}

/** What a person answered to one request, laid over what they answered before: scopes the request did not name stay as they
 *  were, given or left out. (Starting afresh would bring back what was once left out.)
 *  @returns everything that is given now. */
export function applyAnswer(grant: Grant, given: Agreed, left: Agreed): Agreed {
  const before = agreedIn(grant)
  const refused = agreedIn(grant.rejected)
  const now = merge(before, given, left)
  grant.openid = undefined
  grant.resources = undefined
  grant.rejected = undefined
  addScopes(grant, now)
  const stillLeft = merge(refused, left, given)
  if (stillLeft.scopes.length > 0) grant.rejectOIDCScope(stillLeft.scopes.join(' '))
  for (const [resource, names] of Object.entries(stillLeft.resourceScopes))
    if (names.length > 0) grant.rejectResourceScope(resource, names.join(' '))
  return now
}

function agreedIn(part: Pick<Grant, 'openid' | 'resources'> | undefined): Agreed {
  const words = (text: string | undefined) => text?.split(' ').filter(Boolean) ?? []
  return {
    scopes: words(part?.openid?.scope),
    resourceScopes: Object.fromEntries(
      Object.entries(part?.resources ?? {}).map(([resource, scope]) => [resource, words(scope)]),
    ),
  }
}

function merge(base: Agreed, added: Agreed, removed: Agreed): Agreed {
  const combine = (one: readonly string[] = [], more: readonly string[] = [], less: readonly string[] = []) =>
    [...new Set([...one, ...more])].filter((name) => !less.includes(name))
  const resources = new Set([...Object.keys(base.resourceScopes), ...Object.keys(added.resourceScopes)])
  return {
    scopes: combine(base.scopes, added.scopes, removed.scopes),
    resourceScopes: Object.fromEntries(
      [...resources].map((resource) => [
        resource,
        combine(base.resourceScopes[resource], added.resourceScopes[resource], removed.resourceScopes[resource]),
      ]),
    ),
  }
}
