// /api/v1/roles: sets of permissions, and who holds them. A role is given to a person at /users/:id, to a client at /clients/:id.
import { z } from 'zod'
import { patchRole, removeRole, roleDependents } from '#src/access/role-editing.ts'
import { createRole, describeRole, findRole, listRoles, RoleNotFound, type RoleRecord } from '#src/access/roles.ts'
import { refuseBeyond, refuseBeyondRoles } from '#src/admin/bounds.ts'
import type { Db } from '#src/db/database.ts'
import { type AdminApiDeps, type AdminRoute, cascade, deleted, instant, resettable, route } from './route.ts'

export function roleRoutes({ doors }: AdminApiDeps): AdminRoute[] {
  return [
    route('get /roles', {
      scope: 'roles:read',
      name: 'listRoles',
      summary: 'List roles',
      answer: z.strictObject({ data: z.array(role) }),
      handle: async ({ db }) => ({ data: (await listRoles(db)).map(describeRole) }),
    }),

    route('post /roles', {
      scope: 'roles:write',
      name: 'createRole',
      summary: 'Create a role',
      body: z.strictObject({ name: text, ...settings }),
      answer: role,
      status: 201,
      once: true,
      async handle({ db, body: { name, ...input }, caller, change }) {
        await refuseBeyond({ doors, caller }, input.permissions ?? [])
        await createRole(db, name, input, change)
        return describeRole(await find(db, name))
      },
    }),

    route('get /roles/:id', {
      scope: 'roles:read',
      name: 'readRole',
      summary: 'Read a role',
      answer: role,
      versioned: true,
      handle: async ({ db, id }) => describeRole(await find(db, id)),
    }),

    route('get /roles/:id/holders', {
      scope: 'roles:read',
      name: 'countRoleHolders',
      summary: 'Count who holds a role, and the gateway routes that ask for it',
      answer: z.strictObject({ people: z.number(), clients: z.number(), routes: z.number() }),
      async handle({ db, id }) {
        await find(db, id)
        const { people = 0, clients = 0, routes = 0 } = await roleDependents(db, id)
        return { people, clients, routes }
      },
    }),

    route('patch /roles/:id', {
      scope: 'roles:write',
      name: 'changeRole',
      summary: 'Change a role',
      body: z.strictObject(resettable(settings)),
      answer: role,
      versioned: true,
      async handle({ db, id, body, caller, change, seen }) {
        await refuseBeyondRoles({ doors, caller }, db, [id])
        await refuseBeyond({ doors, caller }, body.permissions ?? [])
        return describeRole(await patchRole(db, id, body, change, seen))
      },
    }),

    route('delete /roles/:id', {
      scope: 'roles:write',
      name: 'deleteRole',
      summary: 'Delete a role',
      query: cascade,
      answer: deleted,
      async handle({ db, id, query, caller, change }) {
        await refuseBeyondRoles({ doors, caller }, db, [id])
        await removeRole(db, id, query, change)
        return { id, deleted: true }
      },
    }),
  ]
}

async function find(db: Db, name: string): Promise<RoleRecord> {
  const record = await findRole(db, name)
  if (!record) throw new RoleNotFound(name)
  return record
}

const text = z.string()
const settings = {
  description: text.optional(),
  permissions: z.array(text).optional().meta({ description: 'Names of scopes.' }),
  secondFactor: z.enum(['optional', 'required']).optional(),
  api: text.optional().meta({ description: 'Its permissions count for this API alone.' }),
}
const role = z
  .strictObject({
    name: text,
    description: text,
    permissions: z.array(text),
    secondFactor: text,
    api: text.nullable(),
    builtIn: z.boolean(),
    createdAt: instant,
  })
  .meta({ id: 'Role' })
