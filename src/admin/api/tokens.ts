// /api/v1/tokens: one token and its family. A value travels in a body only: addresses end up in logs (RFC 9700 4.3.2).
import { z } from 'zod'
import { findFamily, findFamilyById } from '#src/tokens/lineage.ts'
import { rowIdOfValue } from '#src/tokens/row-ids.ts'
import { type AdminApiDeps, type AdminRoute, instant, route } from './route.ts'

export function tokenRoutes({ database }: AdminApiDeps): AdminRoute[] {
  return [
    route('get /tokens/:id', {
      scope: 'tokens:read',
      name: 'readTokenFamily',
      summary: 'Read a token and its family, by the id of the token',
      answer: family,
      handle: ({ id }) => findFamilyById(database, id),
    }),

    route('post /tokens/lookup', {
      scope: 'tokens:read',
      sensitive: false,
      name: 'lookUpToken',
      summary: 'Read a token and its family, by the value of the token',
      body: z.strictObject({ token: z.string() }),
      answer: family,
      handle: ({ body: { token } }) => findFamily(database, [rowIdOfValue(token)]),
    }),
  ]
}

const text = z.string()
const scopes = z.array(text)
const origin = z.strictObject({ address: text.nullable(), userAgent: text.nullable() }).nullable()
export const grant = z
  .strictObject({
    id: text,
    state: text,
    userId: text,
    clientId: text,
    scopes,
    resourceScopes: z.record(text, scopes),
    createdAt: instant,
    expiresAt: instant.nullable(),
    revokedAt: instant.nullable(),
    origin,
  })
  .meta({ id: 'Grant' })
export const family = z
  .strictObject({
    asked: text.meta({ description: 'The id of the token that was asked about; empty where it was a grant.' }),
    session: z
      .strictObject({
        uid: text,
        state: text,
        userId: text.nullable(),
        beganAt: instant,
        loginAt: instant.nullable(),
        expiresAt: instant.nullable(),
        endedAt: instant.nullable(),
        origin,
      })
      .nullable(),
    grant: grant.nullable(),
    tokens: z.array(
      z.strictObject({
        id: text,
        kind: text,
        format: z.enum(['jwt', 'opaque']),
        state: text,
        parent: text.nullable(),
        generation: z.number().nullable(),
        clientId: text.nullable(),
        userId: text.nullable(),
        scopes,
        resource: text.nullable(),
        issuedAt: instant,
        expiresAt: instant.nullable(),
        consumedAt: instant.nullable(),
        consumedAddress: text.nullable(),
        repeats: z.number(),
        revokedAt: instant.nullable(),
      }),
    ),
    more: z.boolean(),
  })
  .meta({ id: 'TokenFamily' })
