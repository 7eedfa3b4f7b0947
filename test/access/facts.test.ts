// What of a question stays in its receipt: what policies may speak of, in bounds, and nothing that opens something.
import { describe, expect, test } from 'vitest'
import type { ActionQuestion, Credential, Subject } from '#src/access/decide.ts'
import { stopped } from '#src/access/gates.ts'
import { asksPolicies, credentialFrom, keepFacts, missingFacts } from '#src/access/policies/facts.ts'
import { groundFrom } from '#src/access/policies/policies.ts'
import { compilePolicySchema, type PolicyGround, type PolicySchemaInput } from '#src/access/policies/schema.ts'
import type { ApiRecord } from '#src/apis/apis.ts'

const now = new Date('2026-11-26T12:00:00.000Z')
const declared: PolicySchemaInput = {
  context:
    '{ amount?: Long, reason?: String, tags?: Set<String>, ship?: { city?: String, fast?: Bool }, api_token?: String }',
  objects: { order: { properties: '{ status?: String, until?: datetime, lines?: Set<{ sku?: String }> }' } },
}
const ground = groundFrom(['orders:read'], {}, declared)
const alice: Subject = { kind: 'user', id: 'alice' }

function keep(
  said: { context?: Record<string, unknown>; properties?: Record<string, unknown>; type?: string; address?: string },
  { subject = alice, on = ground }: { subject?: Subject; on?: PolicyGround | null } = {},
) {
  const { context = {}, properties = {}, type = 'order', address } = said
  const api = { identifier: 'https://api.example.com' } as ApiRecord
  const question: ActionQuestion = {
    api,
    action: 'orders:read',
    object: { type, id: '1', properties },
    context,
    address,
  }
  return keepFacts({ groundOf: () => on ?? undefined, now: () => now }, subject, question)
}
const schemaOf = (input: PolicySchemaInput) => {
  const compiled = compilePolicySchema(groundFrom(['orders:read'], {}, input))
  if ('flaws' in compiled) throw new Error(JSON.stringify(compiled.flaws))
  return compiled.schema
}

describe('kept', () => {
  test('is what is declared, whatever its type; not what is said beside it, of which the name stays', () => {
    const context = {
      ...{ amount: 5, reason: 'gift', tags: ['a', 'b'], ship: { city: 'Bern', fast: true, door: '12' } },
      ...{ audience: 'https://api.example.com', address: '192.0.2.1', phone: '+41', nothing: null },
    }
    const properties = { status: 'open', until: '2026-12-01', lines: [{ sku: 'x' }], owner_name: 'A' }
    expect(keep({ context, properties, address: '192.0.2.1' })).toEqual({
      context: { amount: 5, reason: 'gift', tags: ['a', 'b'], ship: { city: 'Bern', fast: true } },
      properties: { status: 'open', until: '2026-12-01', lines: [{ sku: 'x' }] },
      address: '192.0.2.1',
      left: ['properties.owner_name', 'context.ship.door', 'context.phone'],
    })
  })

  test('is nothing of what the caller said where nothing is declared, or of another type of object', () => {
    const said = { context: { amount: 5 }, properties: { status: 'open' } }
    expect(keep(said, { on: null })).toEqual({ left: ['properties.status', 'context.amount'] })
    expect(keep({ ...said, type: 'parcel' })).toEqual({ context: { amount: 5 }, left: ['properties.status'] })
    expect(keep({})).toEqual({})
  })

  test('is the sign-in, from which the credential can be made again', () => {
    const credential: Credential = {
      ...{ method: 'oauth', clientId: 'shop', scopes: new Set(['orders:read', 'openid']), amr: ['pwd', 'otp'] },
      ...{ acrValues: ['low', 'high'], expiresAt: undefined, authenticatedAt: new Date(now.getTime() - 90_500) },
    }
    const facts = keep({}, { subject: { ...alice, credential } })
    expect(facts).toEqual({ acr: 'high', amr: ['pwd', 'otp'], authAge: 90 })
    const at = new Date('2026-11-26T12:00:00.100Z')
    expect(credentialFrom(facts, { method: 'oauth', clientId: 'shop', action: 'orders:read', at })).toEqual({
      ...credential,
      scopes: new Set(['orders:read']),
      acrValues: ['high'],
      authenticatedAt: new Date(at.getTime() - 90_000),
    })
    expect(credentialFrom({}, { method: null, clientId: null, action: 'a', at })).toBeUndefined()
  })
})

describe('not kept, and said to be missing', () => {
  test.each<[string, unknown]>([
    ['a bearer token', 'Bearer abc'],
    ['an API key', 'sp_key_abc'],
    ['a JWT', 'eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.e30.AAAA'],
    ['a hash', 'a'.repeat(20) + '0'.repeat(20)],
    ['a key in PEM', '-----BEGIN PRIVATE KEY-----'],
    ['a long text', 'word '.repeat(60)],
    ['what PostgreSQL cannot hold', 'a\0b'],
    ['half a character', 'a\ud800'],
  ])('%s', (_, secret) => {
    const facts = keep({ context: { reason: secret, tags: ['ok', secret], ship: { city: secret } } })
    expect(facts).toEqual({ context: { ship: {} }, left: ['context.reason', 'context.tags', 'context.ship.city'] })
    expect(missingFacts(facts, 'order', schemaOf(declared))).toEqual(facts.left)
  })

  test('what has the name of a secret, though it is declared; a UUID is none', () => {
    const id = '7c9e6679-7425-40de-944b-e07fc1f90ae7'
    expect(keep({ context: { api_token: 'x', reason: id } })).toEqual({
      context: { reason: id },
      left: ['context.api_token'],
    })
  })

  test('more than there is room for: then nothing of it is relied on', () => {
    const many = Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`n${n}`, 1]))
    for (const context of [many, { ['n'.repeat(65)]: 1 }, { 'a\0b': 1 }, { [`eyJ${'a'.repeat(40)}`]: 1 }])
      expect(keep({ context: { ...context, amount: 5 } }).left).toEqual(['*'])
    const lines = Array.from({ length: 64 }, () => ({ sku: 'word '.repeat(15) }))
    const facts = keep({ properties: { lines }, context: { amount: 5 } })
    expect(facts).toEqual({ left: ['*'] })
    expect(missingFacts(facts, 'order', schemaOf({}))).toEqual(['*'])
  })

  test('is missing only to policies that may speak of it today', () => {
    const facts = keep({ context: { phone: '+41', ship: { door: '12' } }, properties: { weight: 3 } })
    expect(facts.left).toEqual(['properties.weight', 'context.phone', 'context.ship.door'])
    const missing = (input: PolicySchemaInput, type = 'order') => missingFacts(facts, type, schemaOf(input))
    expect(missing(declared)).toEqual([])
    expect(missing({ context: '{ phone?: String, ship?: { door?: String } }' })).toEqual([
      'context.phone',
      'context.ship.door',
    ])
    const parcels = { objects: { parcel: { properties: '{ weight?: Long }' } } }
    expect([missing(parcels), missing(parcels, 'parcel')]).toEqual([[], ['properties.weight']])
  })
})

test('what is of another type than the declared one is as unusable when it is empty', () => {
  const context = { amount: { a: 'b' }, reason: ['x'], tags: { a: 1 }, ship: [1] }
  expect(keep({ context })).toEqual({ context: { amount: {}, reason: [], tags: {}, ship: [] } })
})

test('what stops before the policies is not changed by them', () => {
  const gates = (['unknown', 'expired', 'insufficient_scope', 'old_login'] as const).map((reason) => stopped(reason))
  expect(gates.map(asksPolicies)).toEqual([false, false, false, false])
  const behind = (['lacks_role', 'no_policy_permits', 'forbidden_by_policy', 'ownership'] as const).map((one) =>
    stopped(one),
  )
  expect([...behind, { gate: null }].map(asksPolicies)).toEqual([true, true, true, true, true])
})
