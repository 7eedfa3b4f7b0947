// /api/v1/grants: what people let applications do, sign-in by sign-in.
import { z } from 'zod'
import { findFamilyOfGrant, listGrants } from '#src/tokens/lineage.ts'
import { revoke } from '#src/tokens/revoke.ts'
import { type AdminApiDeps, type AdminRoute, deleted, route } from './route.ts'
import { family, grant } from './tokens.ts'

export function grantRoutes({ database }: AdminApiDeps): AdminRoute[] {
  return [
    route('get /grants', {
      scope: 'tokens:read',
      name: 'listGrants',
      summary: 'List what a person let applications do, the newest 200 sign-ins',
      query: z.strictObject({ user: z.string().meta({ description: 'The id of the person.' }) }),
      answer: z.strictObject({ data: z.array(grant) }),
      handle: async ({ query: { user } }) => ({ data: await listGrants(database, user) }),
    }),

    route('get /grants/:id', {
      scope: 'tokens:read',
      name: 'readGrantFamily',
      summary: 'Read a grant with its session and the family of its tokens',
      answer: family,
      handle: ({ id }) => findFamilyOfGrant(database, id),
    }),

    route('delete /grants/:id', {
      scope: 'tokens:write',
      name: 'revokeGrant',
      summary: 'Revoke a grant; its tokens end',
      answer: deleted,
      async handle({ db, id, change }) {
        await revoke(db, { kind: 'grant', id }, change)
        return { id, deleted: true }
      },
    }),
  ]
}
