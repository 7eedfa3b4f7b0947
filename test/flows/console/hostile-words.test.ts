// What strangers wrote (their names, user agents, what they tried) is read by administrators, who may do most: it is text there, everywhere.
// The pages are found as a reader finds them, link by link, and none may be left out.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { createPolicy } from '#src/access/policies/policies.ts'
import { writeRelations } from '#src/access/relations/relations.ts'
import { createRole } from '#src/access/roles.ts'
import { createView } from '#src/audit/views.ts'
import { applyDeclaration } from '#src/declaration/apply.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import { createReview } from '#src/review/reviews.ts'
import { testEndpoint } from '#src/webhooks/deliveries.ts'
import { createEndpoint } from '#src/webhooks/endpoints.ts'
import { tamper } from '#test/support/audit.ts'
import { type ConsoleHome, consoleTable, startConsole } from '#test/support/console.ts'
import { giveTotp } from '#test/support/factors.ts'
import { change, orders } from '#test/support/installation.ts'
import type { Person } from '#test/support/person.ts'

const payload = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' autofocus onfocus=alert(1) x='",
  '" style="position:fixed" onmouseover="alert(1)',
  '</title><svg onload=alert(1)></textarea><b>',
  '<%= process.env %><%~ "<b>" %>',
  '{count, plural, other {<b>}}<b onclick=alert(1)>',
].join(' ')
/** None of it can be in a page that wrote it as text. */
const raw =
  /<script>alert|<img src=x|' autofocus onfocus|" style="position|<svg onload|<\/textarea><b>|<b onclick|<%|\bonmouseover="/

let home: ConsoleHome
let owner: Person
/** As an id: without spaces at its ends. */
const written = payload.replaceAll(' ', '').slice(0, 250)

beforeAll(async () => {
  home = await startConsole({ env: { IMPERSONATION: 'on' } })
  const { database, secretKeys } = home.server
  const { prisma } = database
  await home.tokensFor({ scope: 'openid offline_access orders:read', resource: orders, prompt: 'consent' }, undefined, {
    resource: orders,
  })
  await giveTotp(home.server, home.alice.id)
  await createRole(prisma, 'buyer', { permissions: ['orders:read'] }, change())
  await prisma.userRole.create({ data: { userId: home.alice.id, roleName: 'buyer' } })
  await createApiKey(prisma, { name: 'k', apis: { [orders]: [] }, owner: { clientId: 'reports' } }, change())
  const policy = { apiIdentifier: orders, name: 'p', text: 'permit (principal, action, resource);' }
  await createPolicy(prisma, policy, change())
  const deps = { secretKeys, networks: [] }
  const { record } = await createEndpoint(prisma, { url: 'https://hooks.example/', types: ['*'] }, deps, change())
  await testEndpoint(prisma, record.id, change())
  await createView(prisma, { userId: home.owner.id }, { name: 'v', filter: {} }, change())
  await createReview(database, { name: 'r' }, change())
  const sealed = { template: 'x', recipient: new Uint8Array(32), expiresAt: new Date(Date.now() + 86_400_000) }
  await prisma.mail.create({ data: { id: randomUUID(), ...sealed, sealed: null } })
  owner = (await home.enter()).person

  const said = { name: payload, description: payload }
  await prisma.user.updateMany({
    where: { id: home.alice.id },
    data: { name: payload, givenName: payload, locale: payload, attributes: { [payload]: payload } },
  })
  await prisma.client.updateMany({ data: { name: payload, clientUri: `https://x/?${payload}` } })
  await prisma.api.updateMany({ where: { builtIn: false }, data: { name: payload } })
  await prisma.scope.updateMany({ data: { description: payload } })
  await prisma.role.updateMany({ data: { description: payload } })
  await prisma.credential.updateMany({ where: { userId: home.alice.id, kind: 'totp' }, data: { name: payload } })
  await prisma.apiKey.updateMany({ data: { name: payload } })
  await prisma.apiKeyValue.updateMany({ data: { hint: payload } })
  await prisma.policy.updateMany({ data: { ...said, text: payload } })
  await prisma.policyVersion.updateMany({ data: { ...said, text: payload, actorId: payload } })
  const file = { ...change(), prune: false, dryRun: false, file: payload }
  await applyDeclaration(
    database,
    parseDeclaration('clients: [{ clientId: gone, type: spa, redirectUris: [https://g.example/] }]'),
    file,
  )
  const declared = { clients: [{ clientId: payload, type: 'spa', redirectUris: ['https://g.example/'] }] }
  await prisma.appliedDeclaration.updateMany({ data: { declared } })
  await prisma.webhookEndpoint.updateMany({ data: { url: `https://x/?${payload}`, description: payload } })
  await prisma.auditView.updateMany({ data: { name: payload } })
  await prisma.accessReview.updateMany({ data: { name: payload } })
  await prisma.accessReviewLine.updateMany({ data: { target: payload, note: payload } })
  await prisma.mail.updateMany({ data: { problem: payload } })
  const parts = { object: { type: 'order', id: written }, relation: 'owner', subject: { type: 'user', id: written } }
  await writeRelations(prisma, { write: [parts] }, change())
  const settings = { apiIdentifier: orders, position: 0, scopes: [payload], roles: [payload], acrValues: [payload] }
  const route = { id: randomUUID(), host: payload, method: 'GET', path: `/${payload}`, relation: `${payload}@a:b` }
  await prisma.route.create({ data: { ...route, ...settings } })
  const job = { name: payload, everySeconds: 1, whenNeeded: false, lookedAt: new Date(), ranBy: payload }
  await prisma.job.create({ data: job })
  const updatedAt = new Date()
  for (const name of ['THEME_CSS', 'SIGN_UP', 'API_KEY_DAYS'])
    await prisma.setting.create({ data: { name, value: payload, updatedAt } })
  await prisma.origin.updateMany({ data: { userAgent: payload, address: payload } })
  await prisma.token.updateMany({ data: { consumedAddress: payload } })
  const quoted = `'${payload.replaceAll("'", "''")}'`
  await tamper(
    database,
    `UPDATE audit_event SET user_agent = ${quoted}, address = ${quoted}, actor_id = coalesce(nullif(actor_kind, 'user'), actor_id),
       detail = jsonb_build_object(${quoted}, ${quoted}) WHERE event <> 'login.succeeded'`,
  )
})
afterAll(() => home.stop())

test('no page that can be reached has any of it', async () => {
  const seen = new Map<string, string>()
  const waiting = ['/admin', `/admin/people/${home.alice.id}`, '/admin/tokens?person=alice@example.com']
  waiting.push(
    `/admin/roles/test?${new URLSearchParams({ subject: payload.slice(0, 200), action: payload.slice(0, 100) })}`,
  )
  waiting.push(`/admin/people?${new URLSearchParams({ q: payload.slice(0, 200), role: payload.slice(0, 100) })}`)
  const row = await home.server.database.prisma.token.findFirstOrThrow({ where: { grantId: { not: null } } })
  waiting.push(`/admin/tokens/families/${Buffer.from(row.id).toString('base64url')}`)
  const asked = { subject: `user:${written}`, relation: 'owner', object: `order:${written}` }
  waiting.push(`/admin/relations/check?${new URLSearchParams(asked)}`)
  waiting.push(`/admin/routes/test?${new URLSearchParams({ address: `https://x/${payload.slice(0, 200)}` })}`)
  waiting.push('/admin/checkup/shrink?client=reports', '/admin/settings/preview?client=shop-web')
  waiting.push(`/admin/audit?${new URLSearchParams({ event: payload.slice(0, 100) })}`)
  /** One address of each page, and of lists one more: what differs is the id alone. */
  const known = (path: string) => consoleTable.find((page) => page.show && patternOf(page.path).test(path))?.path
  const times = new Map<string, number>()
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const { pathname } = new URL(next, home.server.url)
    const page = known(pathname)
    if (page === undefined || seen.has(next) || (times.get(page) ?? 0) >= 3) continue
    times.set(page, (times.get(page) ?? 0) + 1)
    const opened = await owner.open(next)
    seen.set(next, page)
    expect(opened.status, next).toBeLessThan(500)
    expect(raw.exec(opened.text)?.[0], next).toBeUndefined()
    for (const [, href = ''] of opened.text.matchAll(/href="(\/admin[^"#]*)"/g))
      waiting.push(href.replaceAll('&amp;', '&'))
  }
  const reached = new Set(seen.values())
  const notReached = consoleTable.filter((page) => page.show && !reached.has(page.path)).map(({ path }) => path)
  // The way back of a trial is met by its own test.
  expect(notReached.sort()).toEqual(['/admin/applications/:id/try/callback'])
})

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replace(/:\w+/g, '[^/]+')}$`)
}
