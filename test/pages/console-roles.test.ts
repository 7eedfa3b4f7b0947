// Roles and the permission tester in the console.
import { createRole } from '#src/access/roles.ts'
import { lookAtConsole, press } from '#test/support/console-pages.ts'
import { change, orders } from '#test/support/installation.ts'

lookAtConsole(
  'roles',
  [
    { name: 'roles', path: () => '/admin/roles' },
    { name: 'role', path: () => '/admin/roles/buyer', shows: '/admin/roles/:name' },
    { name: 'role-owner', path: () => '/admin/roles/owner' },
    { name: 'role-new', path: () => '/admin/roles/new' },
    {
      name: 'role-new-refused',
      path: () => '/admin/roles/new',
      status: 422,
      async act(page) {
        await page.fill('#name', 'Not A Name!')
        return press(page)
      },
    },
    { name: 'role-delete', path: () => '/admin/roles/buyer/delete', shows: '/admin/roles/:name/delete' },
    { name: 'tester', path: () => '/admin/roles/test' },
    {
      name: 'tester-no',
      path: () =>
        `/admin/roles/test?${new URLSearchParams({ subject: 'alice@example.com', api: orders, action: 'orders:write' })}`,
    },
    {
      name: 'tester-yes',
      path: () =>
        `/admin/roles/test?${new URLSearchParams({ subject: 'alice@example.com', api: orders, action: 'orders:read' })}`,
    },
  ],
  async (home) => {
    const { prisma } = home.server.database
    await createRole(
      prisma,
      'buyer',
      { description: 'Buys things', permissions: ['orders:read'], secondFactor: 'required', api: orders },
      change(),
    )
    await createRole(
      prisma,
      'auditor',
      { description: 'Reads everything', permissions: ['audit:read', 'users:read'] },
      change(),
    )
    await prisma.userRole.create({ data: { userId: home.alice.id, roleName: 'buyer' } })
  },
)
