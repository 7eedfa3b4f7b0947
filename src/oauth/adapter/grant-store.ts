// Grants: scopes are columns, so that an operator can read who let whom do what.
import type { Adapter, AdapterPayload } from 'oidc-provider'
import type { GrantRow, GrantWrite } from '#src/tokens/statements.ts'
import { readGrant } from '#src/tokens/statements.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { type AdapterDeps, unsupported } from './store.ts'

type Scoped = {
  openid?: { scope?: string; claims?: string[] } | undefined
  resources?: Record<string, string> | undefined
}
type GrantPayload = Scoped & {
  accountId: string
  clientId: string
  rejected?: Scoped
  exp?: number
  iat?: number
  rar?: unknown
}

export function grantStore({ now }: AdapterDeps): Adapter {
  return {
    async upsert(id, payload, expiresIn) {
      const unit = currentUnit()
      const {
        accountId,
        clientId,
        openid,
        resources,
        rejected,
        exp,
        jti: _jti,
        kind: _kind,
        iat: _iat,
        ...rest
      } = payload as GrantPayload & Record<string, unknown>
      unit.rows.grant.set(id, {
        id,
        userId: accountId,
        clientId,
        sessionUid: unit.grantSessions.get(id) ?? null,
        scopes: words(openid?.scope),
        rejectedScopes: words(rejected?.openid?.scope),
        resourceScopes: mapValues(resources, words),
        rejectedResourceScopes: mapValues(rejected?.resources, words),
        expiresAt: exp ?? (expiresIn === undefined ? null : now().getTime() / 1000 + expiresIn),
        originId: unit.grantSessions.has(id) ? unit.noteOrigin() : null,
        payload: {
          ...rest,
          ...(openid?.claims && { claims: openid.claims }),
          ...(rejected?.openid?.claims && { rejectedClaims: rejected.openid.claims }),
        },
      })
    },

    async find(id) {
      const unit = currentUnit()
      if (unit.rows.grantEnd.get(id)?.ends) return undefined
      const written = unit.rows.grant.get(id)
      if (written) return unpack(written)
      const row = await unit.remember(`grant ${id}`, () => readGrant(unit.database.pool, id))
      if (row === undefined || row === 'revoked') return undefined
      unit.noteGeneration('grant', id, row.generation)
      return unpack(row)
    },

    async destroy(id) {
      const unit = currentUnit()
      unit.rows.grant.delete(id)
      unit.rows.grantEnd.set(id, { id, ends: true })
    },

    revokeByGrantId: unsupported('Grant', 'revokeByGrantId'),
    consume: unsupported('Grant', 'consume'),
    findByUid: unsupported('Grant', 'uid'),
    findByUserCode: unsupported('Grant', 'user code'),
  }
}

function unpack(row: GrantWrite | GrantRow): AdapterPayload {
  const { claims, rejectedClaims, ...rest } = row.payload as {
    claims?: string[]
    rejectedClaims?: string[]
  } & Record<string, unknown>
  const rejected = scoped(row.rejectedScopes, row.rejectedResourceScopes, rejectedClaims)
  return {
    ...rest,
    ...scoped(row.scopes, row.resourceScopes, claims),
    ...(rejected.openid || rejected.resources ? { rejected } : {}),
    accountId: row.userId,
    clientId: row.clientId,
    kind: 'Grant',
    jti: row.id,
    ...('createdAt' in row ? { iat: Math.floor(row.createdAt) } : {}),
    ...(row.expiresAt === null ? {} : { exp: Math.floor(row.expiresAt) }),
  } as AdapterPayload
}

function scoped(scopes: string[], resources: Record<string, string[]>, claims: string[] | undefined): Scoped {
  const openid = { ...(scopes.length > 0 && { scope: scopes.join(' ') }), ...(claims && { claims }) }
  return {
    ...(Object.keys(openid).length > 0 && { openid }),
    ...(Object.keys(resources).length > 0 && { resources: mapValues(resources, (list) => list.join(' ')) }),
  }
}

const words = (text: string | undefined): string[] => text?.split(' ').filter(Boolean) ?? []

function mapValues<T, U>(record: Record<string, T> | undefined, map: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record ?? {}).map(([key, value]) => [key, map(value)]))
}
