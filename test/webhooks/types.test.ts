// What the world is told of an audit event, and under which name.
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { auditEvents } from '#src/audit/events.ts'
import { type AuditFacts, isTypeFilter, publicTypes, publish, wants, webhookTypes } from '#src/webhooks/types.ts'

const facts = (more: Partial<AuditFacts> & { [name: string]: unknown } = {}): AuditFacts => ({
  event: 'login.succeeded',
  outcome: 'success',
  at: new Date('2026-11-26T12:00:00.123Z'),
  actorKind: 'user',
  actorId: '0d4a4f0e-6a43-4e8c-9f0e-3f6e2b6e6a11',
  targetKind: 'user',
  targetId: '0d4a4f0e-6a43-4e8c-9f0e-3f6e2b6e6a11',
  clientId: 'shop-web',
  requestId: 'r1',
  detail: {},
  ...more,
})

it('says who did what to what, in ids, as Standard Webhooks lays a body out', () => {
  const told = publish(facts({ detail: { amr: ['pwd'] } }))
  expect(told?.type).toBe('user.signed_in')
  expect(JSON.parse(told?.body ?? '')).toEqual({
    type: 'user.signed_in',
    timestamp: '2026-11-26T12:00:00.123Z',
    data: {
      outcome: 'success',
      actor: { kind: 'user', id: '0d4a4f0e-6a43-4e8c-9f0e-3f6e2b6e6a11' },
      target: { kind: 'user', id: '0d4a4f0e-6a43-4e8c-9f0e-3f6e2b6e6a11' },
      clientId: 'shop-web',
      requestId: 'r1',
      detail: { amr: ['pwd'] },
    },
  })
})

it('of the details tells those that are listed, and neither address nor browser', () => {
  const seen = { address: '203.0.113.9', userAgent: 'canary', detail: { amr: ['pwd'], canary: 'canary' } }
  expect(publish(facts(seen))?.body).not.toMatch(/canary|203\.0/)
})

it('tells nobody what happens with every token, or as often as a stranger likes', () => {
  for (const event of ['token.issued', 'refresh.rotated', 'login.failed', 'client.authentication_failed', 'of_later'])
    expect(publish(facts({ event }))).toBeUndefined()
})

it('has one public name for an audit event', () => {
  const all = Object.values(publicTypes).flatMap(({ from }) => from as readonly string[])
  expect(new Set(all).size).toBe(all.length)
  for (const event of all) expect(auditEvents).toContain(event)
})

it.each([
  [['*'], 'user.created', true],
  [['user.*'], 'user.created', true],
  [['user.*'], 'webhook.created', false],
  [['user.created'], 'user.created', true],
  [['user.created'], 'user.created_too', false],
  [['role.created', 'user.deleted'], 'user.deleted', true],
])('who asked for %j hears of %s: %s', (filters, type, hears) => {
  expect(wants(filters, type)).toBe(hears)
})

it('a filter is a type, a group, or everything', () => {
  for (const filter of [...webhookTypes, '*', 'user.*', 'api_key.*'])
    expect([filter, isTypeFilter(filter)]).toEqual([filter, true])
  for (const filter of ['', 'user', 'user.', '*.created', 'user.creat*', 'toString', 'login.succeeded', 'nobody.*'])
    expect([filter, isTypeFilter(filter)]).toEqual([filter, false])
})

it('the database spends nothing on what is not told, and the manual names every type that is', () => {
  const sql = readFileSync('prisma/migrations/20261126207001_webhook_outbox/migration.sql', 'utf8')
  const untold = /ALL \('\{([^}]*)\}'\)/.exec(sql)?.[1]?.split(',') ?? []
  expect(untold).toContain('token.issued')
  for (const event of untold) expect([event, publish(facts({ event }))]).toEqual([event, undefined])
  const manual = readFileSync('docs/webhooks.md', 'utf8')
  for (const type of webhookTypes) expect(manual).toContain(`\`${type}\``)
})
