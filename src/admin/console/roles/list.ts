// Roles: sets of permissions that people and service clients are given.
import { listRoles, ownerRole } from '#src/access/roles.ts'
import { template } from '#src/http/render.ts'
import { cut, textOf } from '../lists.ts'
import type { ConsolePage, PageDeps } from '../page.ts'

export type RolesPage = {
  roles: readonly {
    href: string
    name: string
    description: string
    permissions: readonly string[]
    secondFactor: boolean
    api: string | null
    builtIn: boolean
  }[]
  next: string | undefined
}

const page = template<RolesPage>('admin/console/roles')
const perPage = 25

export function rolesPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/roles',
    section: 'roles',
    scope: 'roles:read',
    async show(request) {
      const found = await listRoles(prisma, {
        after: textOf(request.ctx, 'after', 64) || undefined,
        limit: perPage + 1,
      })
      const { rows, next } = cut(request.ctx, found, perPage, ({ name }) => name)
      render(
        request,
        page,
        {
          roles: rows.map(({ name, description, permissions, secondFactor, apiIdentifier }) => ({
            href: `/admin/roles/${encodeURIComponent(name)}`,
            name,
            description: description ?? '',
            permissions: permissions.map(({ permission }) => permission).sort(),
            secondFactor: secondFactor === 'required',
            api: apiIdentifier,
            builtIn: name === ownerRole,
          })),
          next,
        },
        { section: 'roles' },
      )
    },
  }
}
