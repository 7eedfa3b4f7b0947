// Policies in the console: what they say, what they would change, and what they said before.
import { randomUUID } from 'node:crypto'
import { createPolicy, updatePolicy } from '#src/access/policies/policies.ts'
import { lookAtConsole, press } from '#test/support/console-pages.ts'
import { change, orders } from '#test/support/installation.ts'

const draft = `permit (
  principal is User,
  action == Action::"orders:write",
  resource
) when { principal.email_verified };`
let id = ''
let enforced = ''

lookAtConsole(
  'policies',
  [
    { name: 'policies', path: () => '/admin/policies' },
    { name: 'policy', path: () => `/admin/policies/${id}`, shows: '/admin/policies/:id' },
    { name: 'policy-new', path: () => '/admin/policies/new' },
    {
      name: 'policy-refused',
      path: () => `/admin/policies/${id}`,
      status: 422,
      async act(page) {
        await page.fill('#text', 'permit (principal, action == Action::"orders:fly", resource);')
        return press(page, 'main button.primary')
      },
    },
    {
      name: 'policy-version',
      path: () => `/admin/policies/${id}/versions/1`,
      shows: '/admin/policies/:id/versions/:version',
    },
    { name: 'policy-enforce', path: () => `/admin/policies/${id}/state`, shows: '/admin/policies/:id/state' },
    { name: 'policy-to-draft', path: () => `/admin/policies/${enforced}/state` },
    { name: 'policy-delete', path: () => `/admin/policies/${id}/delete`, shows: '/admin/policies/:id/delete' },
    { name: 'policy-try', path: () => `/admin/policies/${enforced}/try`, shows: '/admin/policies/:id/try' },
    {
      name: 'policy-tried',
      path: () => `/admin/policies/${id}/try`,
      async act(page) {
        await page.fill('#subject', 'alice@example.com')
        await page.fill('#action', 'orders:write')
        return press(page)
      },
    },
    { name: 'policy-replay', path: () => `/admin/policies/${id}/replay`, shows: '/admin/policies/:id/replay' },
    { name: 'policy-replayed', path: () => `/admin/policies/${id}/replay`, act: (page) => press(page) },
  ],
  async ({ server, owner, alice }) => {
    const { prisma } = server.database
    const by = { ...change(), actor: { kind: 'user' as const, id: owner.id } }
    const input = { apiIdentifier: orders, name: 'verified-writers', description: 'Who proved an address may write' }
    ;({ id } = await createPolicy(prisma, { ...input, text: 'permit (principal, action, resource);' }, by))
    await updatePolicy(prisma, id, 1, { text: draft }, by)
    const night = 'forbid (principal, action == Action::"orders:read", resource) when { context.hour < 0 };'
    const forbids = { apiIdentifier: orders, name: 'closed-at-night', text: night, state: 'enforced' }
    enforced = (await createPolicy(prisma, forbids, by)).id
    const receipt = (more: object) =>
      prisma.decisionReceipt.create({
        data: {
          ...{ id: randomUUID(), at: new Date(Date.now() - 3_600_000), expiresAt: new Date(Date.now() + 86_400_000) },
          ...{ api: orders, endpoint: 'POST /access/v1/evaluation', allowed: false, gate: 'role' },
          ...{ reason: 'lacks_role', subjectKind: 'user', subjectId: alice.id },
          ...{ action: 'orders:write', objectType: 'order', objectId: '7', ...more },
        },
      })
    await receipt({ facts: {} })
    await receipt({ facts: {}, action: 'orders:read', objectId: '8' })
    await receipt({ objectId: '9' })
  },
)
