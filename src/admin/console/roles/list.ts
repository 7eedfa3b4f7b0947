// Roles: sets of permissions that people and service clients are given.
import { listRoles, ownerRole } from '#src/access/roles.ts'
import { template } from '#src/http/render.ts'
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
}

const page = template<RolesPage>('admin/console/roles')

export function rolesPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/roles',
    section: 'roles',
    scope: 'roles:read',
    async show(request) {
      const roles = await listRoles(prisma)
      render(
        request,
        page,
        {
          roles: roles.map(({ name, description, permissions, secondFactor, apiIdentifier }) => ({
            href: `/admin/roles/${encodeURIComponent(name)}`,
            name,
            description: description ?? '',
            permissions: permissions.map(({ permission }) => permission).sort(),
            secondFactor: secondFactor === 'required',
            api: apiIdentifier,
            builtIn: name === ownerRole,
          })),
        },
        { section: 'roles' },
      )
    },
  }
}
