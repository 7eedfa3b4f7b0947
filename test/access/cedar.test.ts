// The policy engine by itself: what it accepts, what it answers, what hostile input can do to it.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { checkPolicy, createPolicySet, evaluatePolicies, type KeptPolicy } from '#src/access/policies/cedar.ts'
import { CedarFailure, cedarUsage, withCedar } from '#src/access/policies/cedar-runtime.ts'
import {
  type PolicyContext,
  type PolicyQuestion,
  type PolicyResource,
  type Principal,
  toCedarQuestion,
} from '#src/access/policies/question.ts'
import { compilePolicySchema, type PolicyGround, type PolicySchema } from '#src/access/policies/schema.ts'

const ground: PolicyGround = {
  actions: ['orders:read', 'orders:write', 'orders:delete'],
  objects: { order: { owner: ['orders:read'], viewer: ['orders:read'] }, if: { owner: ['orders:read'] } },
  declared: {
    attributes: `{ department: String, plan?: String, level?: Long, blocked?: Bool, tags?: Set<String>,
      office?: { city: String }, home?: ipaddr, share?: decimal, hired?: datetime, notice?: duration }`,
    context: '{ amount?: Long }',
    objects: { folder: {}, order: { relations: { company: 'company' }, properties: '{ status?: String }' } },
  },
}
// First of all: what a server does that has policies and is not asked about them.
const atStart = (() => {
  const concerned = { principal: 'User::bob', actions: ['*'], resource: '*' }
  const text = 'permit (principal == User::"bob", action, resource);'
  createPolicySet([{ name: 'p', text, effect: 'permit', scope: concerned }], ground)
  const { effect } = createPolicySet([], ground).evaluate(ask())
  return { unasked: cedarUsage(), effect }
})()
const schema = schemaOf(ground)

function schemaOf(of: PolicyGround): PolicySchema {
  const compiled = compilePolicySchema(of)
  if ('flaws' in compiled) throw new Error(JSON.stringify(compiled.flaws))
  return compiled.schema
}

const checkedBefore = new Map<string, Pick<KeptPolicy, 'effect' | 'scope'>>()

function policy(text: string, name = 'p'): KeptPolicy {
  const before = checkedBefore.get(text)
  if (before) return { name, text, ...before }
  const checked = checkPolicy(text, schema)
  if ('flaws' in checked) throw new Error(JSON.stringify(checked.flaws))
  checkedBefore.set(text, checked)
  return { name, text, ...checked }
}

const setOf = (texts: Record<string, string>, on = ground) =>
  createPolicySet(
    Object.entries(texts).map(([name, text]) => policy(text, name)),
    on,
  )

type Changed = {
  principal?: Partial<Principal>
  action?: string
  resource?: Partial<PolicyResource>
  context?: Partial<PolicyContext>
}

/** Alice of sales reads order 88 on a Thursday at ten. */
function ask({ principal, action = 'orders:read', resource, context }: Changed = {}): PolicyQuestion {
  return {
    principal: { kind: 'user', id: 'alice', attributes: { department: 'sales' }, ...principal },
    action,
    resource: { type: 'order', id: '88', ...resource },
    context: { now: new Date('2026-11-26T10:00:00Z'), ...context },
  }
}

const effect = (text: string, changed: Changed = {}) => evaluatePolicies(setOf({ p: text }), ask(changed)).effect

describe('what policies are for', () => {
  test('department', () => {
    const text = 'permit (principal is User, action, resource) when { principal.attributes.department == "sales" };'
    expect(effect(text)).toBe('permit')
    expect(effect(text, { principal: { attributes: { department: 'hr' } } })).toBe('none')
    expect(effect(text, { principal: { attributes: {} } })).toBe('none')
    expect(effect(text, { principal: { kind: 'client' } })).toBe('none')
  })

  test('the plan that was paid for', () => {
    const text = `permit (principal is User, action == Action::"orders:write", resource)
      when { principal.attributes has plan && ["pro", "team"].contains(principal.attributes.plan) };`
    const with_ = (plan?: string, action = 'orders:write') =>
      effect(text, { action, principal: { attributes: { department: 'x', plan } } })
    expect([with_('pro'), with_('team'), with_('free'), with_(), with_('pro', 'orders:read')]).toEqual([
      'permit',
      'permit',
      'none',
      'none',
      'none',
    ])
  })

  test('business hours, in UTC or in a zone of its own', () => {
    const text = `permit (principal, action, resource)
      when { context.weekday <= 5 && context.hour >= 9 && context.hour < 17 };`
    const at = (time: string, asked = text) => effect(asked, { context: { now: new Date(time) } })
    expect(at('2026-11-26T09:00:00Z')).toBe('permit')
    expect(at('2026-11-26T16:59:59Z')).toBe('permit')
    expect(at('2026-11-26T17:00:00Z')).toBe('none')
    expect(at('2026-11-28T10:00:00Z')).toBe('none') // Saturday
    expect(at('2026-11-29T10:00:00Z')).toBe('none') // Sunday
    const berlin = `permit (principal, action, resource)
      when { context.now.offset(duration("1h")).toTime() >= duration("9h") };`
    expect([at('2026-11-26T07:59:59Z', berlin), at('2026-11-26T08:00:00Z', berlin)]).toEqual(['none', 'permit'])
  })

  test('address range', () => {
    const text = `permit (principal, action, resource)
      when { context has address && context.address.isInRange(ip("10.1.0.0/16")) };`
    const from = (address?: string) => effect(text, { context: { address } })
    expect([from('10.1.2.3'), from('::ffff:10.1.2.3')]).toEqual(['permit', 'permit'])
    for (const address of ['10.2.0.1', '::1', undefined, '', 'localhost', '10.1.2.3/8', '10.1.2.3%eth0', '10.1.2.3 '])
      expect(from(address), address).toBe('none')
  })

  test('factor strength', () => {
    const text = `forbid (principal, action == Action::"orders:delete", resource)
      unless { context has acr && context.acr == "phr" || context.amr.containsAny(["otp", "hwk"]) };`
    const by = (acr: string | undefined, amr: string[]) =>
      effect(text, { action: 'orders:delete', context: { acr, amr } })
    expect([by('phr', []), by(undefined, ['pwd', 'otp']), by(undefined, ['pwd']), by('x', [])]).toEqual([
      'none',
      'none',
      'forbid',
      'forbid',
    ])
  })

  test('age of the login; without one there is none', () => {
    const text = 'permit (principal, action, resource) when { context has auth_age && context.auth_age <= 300 };'
    const aged = (authAge?: number) => effect(text, { context: { authAge } })
    expect([aged(0), aged(300.9), aged(301), aged(undefined), aged(Number.NaN), aged(-1)]).toEqual([
      'permit',
      'permit',
      'none',
      'none',
      'none',
      'permit',
    ])
  })

  test('kind of credential, verified address, what the caller says', () => {
    expect(
      effect(
        'forbid (principal, action, resource) when { context has credential && context.credential == "api_key" };',
        {
          context: { credential: 'api_key' },
        },
      ),
    ).toBe('forbid')
    const verified = 'permit (principal is User, action, resource) when { principal.email_verified };'
    expect([effect(verified), effect(verified, { principal: { emailVerified: true } })]).toEqual(['none', 'permit'])
    const small = `permit (principal, action, resource is order) when { context.properties has amount
      && context.properties.amount < 100 && resource.properties has status && resource.properties.status == "open" };`
    const said = (amount: unknown, status: unknown) =>
      effect(small, { context: { properties: { amount } }, resource: { properties: { status } } })
    expect([said(99, 'open'), said(100, 'open'), said(99, 'shut'), said('1', 'open'), said(99, 1)]).toEqual([
      'permit',
      'none',
      'none',
      'none',
      'none',
    ])
  })

  test('owner, by relation: a person, a client, a group they are in', () => {
    const text = 'permit (principal, action, resource is order) when { principal in resource.owner };'
    const owned = (owner: { type: string; id: string }[], principal: Partial<Principal> = {}) =>
      effect(text, { principal, resource: { relations: { owner } } })
    expect(owned([{ type: 'user', id: 'alice' }])).toBe('permit')
    expect(owned([{ type: 'user', id: 'bob' }])).toBe('none')
    expect(owned([])).toBe('none')
    expect(owned([{ type: 'client', id: 'alice' }])).toBe('none')
    expect(owned([{ type: 'client', id: 'robot' }], { kind: 'client', id: 'robot' })).toBe('permit')
    expect(owned([{ type: 'group', id: 'eng' }], { groups: ['eng'] })).toBe('permit')
    expect(owned([{ type: 'group', id: 'eng' }], { roles: ['eng'] })).toBe('none')
    expect(owned([{ type: 'unknown', id: 'alice' }])).toBe('none')
    const exactly = 'permit (principal is User, action, resource is order) when { resource.owner.contains(principal) };'
    expect(effect(exactly, { resource: { relations: { owner: [{ type: 'user', id: 'alice' }] } } })).toBe('permit')
  })

  test('roles and groups as parents of the subject, folders as parents of the object', () => {
    const role = 'permit (principal in Role::"clerk", action, resource);'
    expect([effect(role, { principal: { roles: ['clerk'] } }), effect(role)]).toEqual(['permit', 'none'])
    const folder = 'permit (principal in Group::"eng", action, resource in folder::"7");'
    const inside = (groups: string[], id: string) =>
      effect(folder, { principal: { groups }, resource: { parents: [{ type: 'folder', id }] } })
    expect([inside(['eng'], '7'), inside(['eng'], '8'), inside([], '7')]).toEqual(['permit', 'none', 'none'])
    expect(effect(folder, { principal: { groups: ['eng'] }, resource: { type: 'folder', id: '7' } })).toBe('permit')
    const company = 'permit (principal, action, resource is order) when { resource.company.contains(company::"acme") };'
    expect(effect(company, { resource: { relations: { company: [{ type: 'company', id: 'acme' }] } } })).toBe('permit')
  })

  test('the object may be the person who asks', () => {
    const self: PolicyGround = {
      ...ground,
      declared: { ...ground.declared, objects: { user: { relations: { manager: 'user' } } } },
    }
    const text = `permit (principal is User, action, resource is User)
      when { principal == resource || principal in resource.manager };`
    const compiled = schemaOf(self)
    const checked = checkPolicy(text, compiled)
    if ('flaws' in checked) throw new Error(JSON.stringify(checked.flaws))
    const set = createPolicySet([{ name: 'p', text, ...checked }], self)
    const of = (id: string, manager: string) =>
      evaluatePolicies(
        set,
        ask({ resource: { type: 'user', id, relations: { manager: [{ type: 'user', id: manager }] } } }),
      ).effect
    expect([of('alice', 'x'), of('bob', 'alice'), of('bob', 'x')]).toEqual(['permit', 'permit', 'none'])
  })
})

describe('how they are put together', () => {
  const everything = 'permit (principal, action, resource);'

  test('deny by default: no policy, or none that concerns the question, says nothing', () => {
    expect(evaluatePolicies(createPolicySet([], ground), ask())).toEqual({ effect: 'none', policies: [], errors: [] })
    expect(effect('permit (principal, action == Action::"orders:write", resource);')).toBe('none')
  })

  test('forbid beats permit, and those that decided are named', () => {
    const set = setOf({ all: everything, more: everything, never: 'forbid (principal, action, resource is order);' })
    expect(evaluatePolicies(set, ask())).toEqual({ effect: 'forbid', policies: ['never'], errors: [] })
    expect(evaluatePolicies(set, ask({ resource: { type: 'folder' } }))).toEqual({
      effect: 'permit',
      policies: ['all', 'more'],
      errors: [],
    })
  })

  test('a forbid that errs forbids; a permit that errs does not count', () => {
    const lacks = { principal: { attributes: {} } }
    const forbid = 'forbid (principal is User, action, resource) when { principal.attributes.department == "hr" };'
    const set = setOf({ all: everything, blocked: forbid })
    expect(evaluatePolicies(set, ask())).toMatchObject({ effect: 'permit', policies: ['all'] })
    expect(evaluatePolicies(set, ask(lacks))).toEqual({
      effect: 'forbid',
      policies: ['blocked'],
      errors: [expect.stringMatching(/^blocked: .*department/)],
    })
    const permit = forbid.replace('forbid', 'permit').replace('"hr"', '"sales"')
    expect(evaluatePolicies(setOf({ p: permit }), ask(lacks))).toMatchObject({ effect: 'none', policies: [] })
    expect(evaluatePolicies(setOf({ p: permit, all: everything }), ask(lacks))).toMatchObject({
      effect: 'permit',
      policies: ['all'],
      errors: [expect.stringMatching(/^p: /)],
    })
  })

  test('an engine that fails forbids where a policy might have, and says nothing where none could', () => {
    const unaskable = ask({ principal: { id: '\ud800' } })
    expect(evaluatePolicies(setOf({ p: everything }), unaskable)).toMatchObject({ effect: 'none', policies: [] })
    const set = setOf({ p: everything, f: 'forbid (principal, action == Action::"orders:delete", resource);' })
    expect(evaluatePolicies(set, unaskable)).toMatchObject({
      effect: 'forbid',
      policies: [],
      errors: [expect.any(String)],
    })
  })
})

describe('refused before it is kept, with the place and what would mend it', () => {
  const flawsOf = (text: string) => {
    const checked = checkPolicy(text, schema)
    return 'flaws' in checked ? checked.flaws : []
  }
  test.each<[string, string, RegExp, RegExp]>([
    [
      'a misspelt attribute',
      'permit (principal is User, action, resource) when {\n  principal.attributes.departmnt == "x" };',
      /^at line 2, column 3 .*departmnt/,
      /Did you mean `department`\?/,
    ],
    [
      'a place behind letters of several bytes',
      'permit (principal is User, action, resource) when { "ü" != context.nope };',
      /^at line 1, column 60 /,
      /mean|now/i,
    ],
    [
      'an optional attribute without a test',
      'permit (principal is User, action, resource) when { principal.attributes.plan == "x" };',
      /plan/,
      /has plan/,
    ],
    [
      'an attribute of clients',
      'permit (principal, action, resource) when { principal.attributes.department == "x" };',
      /Client/,
      /principal is User/,
    ],
    [
      'an unknown action',
      'permit (principal, action == Action::"orders:raed", resource);',
      /orders:raed/,
      /orders:read/,
    ],
    ['an unknown type', 'permit (principal, action, resource is ordr);', /ordr/, /policy schema/],
    [
      'a relation of other objects',
      'permit (principal, action, resource) when { principal in resource.owner };',
      /owner/,
      /./,
    ],
    [
      'two types in one comparison',
      'permit (principal is User, action, resource) when { principal.attributes.department == 1 };',
      /./,
      /./,
    ],
    [
      'contains where a client may ask',
      'permit (principal, action, resource is order) when { resource.owner.contains(principal) };',
      /Client and User/,
      /principal in/,
    ],
    [
      'an address that is none',
      'permit (principal, action, resource) when { context has address && context.address.isInRange(ip("10.0.0.300")) };',
      /10\.0\.0\.300/,
      /Valid IP/,
    ],
    [
      'a syntax error',
      'permit (principal, action, resource) when {\n\n true == };',
      /^at line 3, column 10 /,
      /xpected/,
    ],
    ['an unfinished statement', 'permit (principal, action, resource)', /end of input/, /;/],
    [
      'two statements',
      'permit (principal, action, resource); permit (principal, action, resource);',
      /column 39/,
      /one statement/,
    ],
    ['a template', 'permit (principal == ?principal, action, resource);', /./, /./],
    ['nothing', ' \n', /empty/, /permit or forbid/],
    ['a forbid that can never hold', 'forbid (principal, action, resource) when { false };', /never hold/, /./],
    [
      'text that turns its direction',
      'permit (principal, action, resource) when { "\u202e" == "x" };',
      /cannot be seen/,
      /./,
    ],
    ['half a character', 'permit (principal, action, resource) when { "\ud800" == "x" };', /cannot be seen/, /./],
    ['a book', `permit (principal, action, resource);${' '.repeat(10_000)}`, /longer than 10000/, /./],
  ])('%s', (_, text, problem, fix) => {
    const [flaw] = flawsOf(text)
    expect(flaw).toMatchObject({
      field: 'text',
      problem: expect.stringMatching(problem),
      fix: expect.stringMatching(fix),
    })
  })

  const when = (body: string) => `permit (principal, action, resource) when { ${body} };`
  test.each([
    ['brackets', when(`${'('.repeat(3000)}true${')'.repeat(3000)}`)],
    ['brackets behind closing ones', when(`${')'.repeat(500)}${'('.repeat(1000)}`)],
    ['brackets behind brackets in strings', when(`${'"))))))))" == "" || ('.repeat(300)}true${')'.repeat(300)}`)],
    ['brackets behind brackets in comments', when(`${'// ))))\n('.repeat(500)}true${')'.repeat(500)}`)],
    ['sets', when(`${'['.repeat(3000)}1${']'.repeat(3000)} == 1`)],
    ['conditionals', when(`${'if true then true else '.repeat(400)}true`)],
    ['sums', when(`${'1+'.repeat(3000)}1 > 0`)],
    ['chained calls', when(`context.now${'.offset(duration("1s"))'.repeat(400)} == context.now`)],
    ['attributes of attributes', when(`context${'.a'.repeat(4000)}`)],
  ])('too many nested or chained %s, by us: Cedar would trap', (_, text) => {
    const before = cedarUsage()
    expect(flawsOf(text)).not.toEqual([])
    expect(cedarUsage()).toEqual(before)
  })

  test('at the limits Cedar still answers', () => {
    for (const text of [
      when(`${'('.repeat(39)}true${')'.repeat(39)}`),
      when(`${'if true then true else '.repeat(40)}true`),
      when(`${'1+'.repeat(80)}1 > 0`),
      when(`context.now${'.offset(duration("1s"))'.repeat(148)} != context.now`),
      when(`${'true && '.repeat(1200)}true`),
    ]) {
      expect(flawsOf(text)).toEqual([])
      expect(effect(text)).toBe('permit')
    }
  })

  test.each<[string, PolicyGround['declared'], string]>([
    ['a type that is none', { attributes: '{ a: Strin }' }, 'attributes'],
    ['no record', { attributes: 'String' }, 'attributes'],
    ['an entity', { context: '{ a: User }' }, 'context'],
    ['a second statement', { attributes: '{}; entity User' }, 'attributes'],
    [
      'a name that means something else to Cedar',
      { attributes: '{ __entity: { type: String, id: String } }' },
      'attributes',
    ],
    ['a word of Cedar as a type', { objects: { in: {} } }, 'objects'],
    ['a type with a capital', { objects: { Order: {} } }, 'objects'],
    [
      'a relation with the name of the properties',
      { objects: { order: { relations: { properties: 'user' } } } },
      'objects.order.relations',
    ],
    [
      'a relation to nothing',
      { objects: { order: { relations: { owner: 'Nobody' } } } },
      'objects.order.relations.owner',
    ],
    ['properties that are none', { objects: { order: { properties: '{' } } }, 'objects.order.properties'],
  ])('a policy schema with %s', (_, declared, field) => {
    expect(compilePolicySchema({ actions: ['a'], objects: {}, declared })).toMatchObject({ flaws: [{ field }] })
  })
})

describe('hostile values', () => {
  const everything = 'permit (principal, action, resource);'

  test.each<[string, unknown]>([
    ['a string where a number is declared', '5'],
    ['a float', 2.5],
    ['beyond 2^53', 2 ** 53],
    ['beyond int64', 1e30],
    ['a list', [1, 2]],
    ['an object', { a: 1 }],
    ['an object that says it is an entity', { __entity: { type: 'User', id: 'root' } }],
    ['an object that says it is an extension', { __extn: { fn: 'decimal', arg: 'x' } }],
    ['a very long string', 'x'.repeat(1_000_000)],
    ['half a character', '\ud800'],
    ['true', true],
  ])('%s neither permits nor gets past a forbid', (_, level) => {
    const changed = { principal: { attributes: { department: 'x', level } } }
    expect(
      effect(
        'permit (principal is User, action, resource) when { principal.attributes has level && principal.attributes.level > 0 };',
        changed,
      ),
    ).toBe('none')
    expect(
      effect(
        'permit (principal is User, action, resource) when { principal.attributes has level && principal.attributes.level == 5 };',
        changed,
      ),
    ).toBe('none')
    expect(
      effect(
        'forbid (principal is User, action, resource) when { principal.attributes has level && principal.attributes.level > 9 };',
        changed,
      ),
    ).toBe('forbid')
  })

  test('null and undefined are not there', () => {
    for (const level of [null, undefined])
      expect(
        effect('permit (principal is User, action, resource) unless { principal.attributes has level };', {
          principal: { attributes: { department: 'x', level } },
        }),
      ).toBe('permit')
  })

  test('dates, amounts, addresses, records and sets that are not what is declared', () => {
    const uses = [
      'principal.attributes has home && principal.attributes.home.isLoopback()',
      'principal.attributes has share && principal.attributes.share.lessThan(decimal("1.0"))',
      'principal.attributes has hired && principal.attributes.hired < context.now',
      'principal.attributes has notice && principal.attributes.notice < duration("1h")',
      'principal.attributes has office && principal.attributes.office.city == "Bern"',
      'principal.attributes has tags && principal.attributes.tags.contains("a")',
    ].map((body) => policy(`permit (principal is User, action, resource) when { ${body} };`))
    const answers = (attributes: Record<string, unknown>) =>
      uses.map((one) => createPolicySet([one], ground).evaluate(ask({ principal: { attributes } })).effect)
    const good = {
      home: '127.0.0.1',
      share: 0.5,
      hired: '2020-01-01',
      notice: '30m',
      office: { city: 'Bern' },
      tags: ['a'],
    }
    expect(answers(good)).toEqual(uses.map(() => 'permit'))
    expect(answers({ ...good, share: '0.25', hired: '2020-01-01T10:00:00+02:00', home: '::1' })).toEqual(
      uses.map(() => 'permit'),
    )
    for (const bad of [
      1,
      '',
      'x',
      '"',
      '9'.repeat(30),
      '2020-99-99',
      '1.2.3.4/33',
      -1e-7,
      {},
      [],
      [[]],
      { city: 5 },
      true,
      '0001-01-01T00:00:00+99:99',
      '300000000d',
    ])
      expect(
        answers({ home: bad, share: bad, hired: bad, notice: bad, office: bad, tags: bad }),
        JSON.stringify(bad),
      ).toEqual(uses.map(() => 'none'))
    expect(answers({ tags: Array(2000).fill('a') })).toEqual(uses.map(() => 'none'))
  })

  test('names that are no names: nothing is asked', () => {
    const set = setOf({ p: everything })
    for (const changed of [
      { principal: { id: '' } },
      { principal: { id: 'x'.repeat(2000) } },
      { principal: { kind: 'root' as 'user' } },
      { principal: { groups: ['\udfff'] } },
      { principal: { roles: Array(20_000).fill('r') } },
      { resource: { id: 5 as unknown as string } },
      { resource: { type: '\ud800' } },
      { resource: { parents: [{ type: 'folder', id: '' }] } },
      { resource: { relations: { owner: [{ type: 'user', id: '\ud800' }] } } },
      { resource: { relations: { owner: 'alice' as unknown as [] } } },
      { action: '' },
      { context: { now: new Date(Number.NaN) } },
    ])
      expect(evaluatePolicies(set, ask(changed))).toMatchObject({ effect: 'none', errors: [expect.any(String)] })
  })

  test('a name is only ever itself, whatever it is made of', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }),
        fc.string({
          unit: fc.constantFrom('"', '\\', '\0', '\n', ':', 'U', 's', 'e', 'r', '\u00e9', 'e\u0301', '{', '}'),
          minLength: 1,
          maxLength: 12,
        }),
        (one, other) => {
          const text = 'permit (principal, action, resource is order) when { principal in resource.owner };'
          for (const [asks, owns] of [
            [one, other],
            [other, one],
            [one, one],
            [other, other],
          ] as const) {
            const changed = {
              principal: { id: asks },
              resource: { id: asks, relations: { owner: [{ type: 'user', id: owns }] } },
            }
            expect(effect(text, changed)).toBe(asks === owns ? 'permit' : 'none')
          }
        },
      ),
      { numRuns: 30 },
    )
  })

  test('types, actions and attributes with the names of what every object has', () => {
    const set = setOf({
      p: 'permit (principal is User, action == Action::"orders:read", resource is order) when { principal.attributes.department == "sales" };',
    })
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'if', 'User', 'Order', 'a::b']) {
      expect(evaluatePolicies(set, ask({ resource: { type: name } })).effect).toBe('none')
      expect(evaluatePolicies(set, ask({ action: name })).effect).toBe('none')
    }
    const polluted = JSON.parse('{"__proto__": {"department": "sales"}, "constructor": 1}')
    expect(evaluatePolicies(set, ask({ principal: { attributes: polluted } })).effect).toBe('none')
    const relations = JSON.parse('{"__proto__": {"owner": [{"type": "user", "id": "alice"}]}}')
    expect(
      effect('permit (principal, action, resource is order) when { principal in resource.owner };', {
        resource: { relations },
      }),
    ).toBe('none')
    expect(effect(everything, { resource: { type: 'if' } })).toBe('permit')
  })

  test('what an object inherits is not an attribute', () => {
    const inherited: PolicyGround = {
      ...ground,
      declared: { attributes: '{ constructor?: String, toString?: String }' },
    }
    const text = 'permit (principal is User, action, resource) when { principal.attributes has constructor };'
    const checked = checkPolicy(text, schemaOf(inherited))
    if ('flaws' in checked) throw new Error(JSON.stringify(checked.flaws))
    const set = createPolicySet([{ name: 'p', text, ...checked }], inherited)
    const answers = [{}, { constructor: 'x' }].map(
      (attributes) => set.evaluate(ask({ principal: { attributes } })).effect,
    )
    expect(answers).toEqual(['none', 'permit'])
  })

  test('any JSON as attributes and properties gets an answer and no permit that its values do not earn', () => {
    const set = setOf({
      p: `permit (principal is User, action, resource is order) when {
        principal.attributes has level && principal.attributes.level == 7
        && resource.properties has status && resource.properties.status == "secret-status" };`,
    })
    const json = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.string({ unit: 'binary' }),
        fc.double(),
        fc.integer(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie('value')),
        tie('record'),
      ),
      record: fc.dictionary(
        fc.oneof(
          fc.constantFrom(
            'level',
            'status',
            'department',
            'tags',
            'office',
            '__proto__',
            '__entity',
            '__extn',
            'home',
            'share',
          ),
          fc.string(),
        ),
        tie('value'),
      ),
    })).record as fc.Arbitrary<Record<string, unknown>>
    fc.assert(
      fc.property(json, json, json, (attributes, properties, context) => {
        const answer = evaluatePolicies(
          set,
          ask({ principal: { attributes }, resource: { properties }, context: { properties: context } }),
        )
        expect(answer.effect).toBe('none')
      }),
      { numRuns: 200 },
    )
  })
})

describe('removing never opens a door', () => {
  const conditions = [
    '',
    'when { context.hour > 8 }',
    'when { principal is User && principal.attributes.department == "sales" }',
    'unless { context has acr && context.acr == "phr" }',
    'when { resource is order && principal in resource.owner }',
    'when { 9223372036854775807 + context.hour > 0 }', // overflows
    'when { context.properties has amount && context.properties.amount > 3 }',
    'when { context.now > datetime("2026-11-26T10:00:00Z") }',
    'when { principal in Group::"\\u{65}ng" || context.hour > 13 }', // an escape: it is eng
  ]
  const scopes = [
    'principal',
    'principal is User',
    'principal == User::"alice"',
    'principal in Role::"clerk"',
    'principal in Group::"eng"',
  ]
  const actions = [
    'action',
    'action == Action::"orders:read"',
    'action in [Action::"orders:read", Action::"orders:write"]',
  ]
  const resources = ['resource', 'resource is order', 'resource == order::"88"', 'resource in folder::"7"']
  const texts = fc
    .tuple(
      fc.constantFrom('permit', 'forbid'),
      fc.constantFrom(...scopes),
      fc.constantFrom(...actions),
      fc.constantFrom(...resources),
      fc.constantFrom(...conditions),
    )
    .map(([effect, who, what, which, condition]) => `${effect} (${who}, ${what}, ${which}) ${condition};`)
  const questions = fc.record({
    principal: fc.record({
      kind: fc.constantFrom('user' as const, 'client' as const),
      id: fc.constantFrom('alice', 'bob'),
      attributes: fc.constantFrom({}, { department: 'sales' }, { department: 5 }),
      roles: fc.subarray(['clerk', 'boss']),
      groups: fc.subarray(['eng', 'ops']),
    }),
    action: fc.constantFrom('orders:read', 'orders:write', 'orders:delete'),
    resource: fc.record({
      type: fc.constantFrom('order', 'folder', 'other'),
      id: fc.constantFrom('88', '7'),
      parents: fc.constantFrom([], [{ type: 'folder', id: '7' }]),
      relations: fc.constantFrom<NonNullable<PolicyResource['relations']>[]>(
        {},
        { owner: [{ type: 'user', id: 'alice' }] },
        { owner: [{ type: 'group', id: 'ops' }] },
      ),
    }),
    context: fc.record({
      hour: fc.constantFrom(3, 12),
      acr: fc.constantFrom(undefined, 'phr'),
      properties: fc.constantFrom({}, { amount: 5 }, { amount: 'x' }),
    }),
  })
  const build = (list: readonly string[]) =>
    createPolicySet(
      list.map((text, at) => policy(text, `p${at}`)),
      ground,
    )
  const asked = ({
    context: { hour, ...context },
    ...rest
  }: typeof questions extends fc.Arbitrary<infer Asked> ? Asked : never): PolicyQuestion => ({
    ...rest,
    context: { ...context, now: new Date(Date.UTC(2026, 10, 26, hour)) },
  })

  /** For each of the two worlds of decide(): a role or a relation grants it, or nothing does. */
  const allowed = (list: readonly string[], question: PolicyQuestion) => {
    const { effect } = build(list).evaluate(question)
    return [effect === 'permit', effect !== 'forbid']
  }

  test('adding a forbid, or removing a permit, never turns no into yes', () => {
    fc.assert(
      fc.property(
        fc.array(texts, { minLength: 1, maxLength: 6 }),
        texts,
        fc.nat(),
        questions,
        (list, extra, which, question) => {
          const q = asked(question)
          const before = allowed(list, q)
          const forbids = allowed([...list, extra.replace(/^permit/, 'forbid')], q)
          const permits = list.flatMap((text, at) => (text.startsWith('permit') ? [at] : []))
          const gone = permits.length > 0 ? permits[which % permits.length] : undefined
          const fewer = allowed(
            list.filter((_, at) => at !== gone),
            q,
          )
          for (const after of [forbids, fewer])
            for (const [at, yes] of after.entries()) if (yes) expect(before[at]).toBe(true)
        },
      ),
      { numRuns: 120 },
    )
  })

  test('what is left out of a question, policies and words, is nothing that Cedar would have counted', () => {
    fc.assert(
      fc.property(fc.array(texts, { minLength: 1, maxLength: 8 }), questions, (list, question) => {
        const q = asked(question)
        const policies = list.map((text, at) => policy(text, `p${at}`))
        const { decision, diagnostics } = withCedar((cedar) => {
          const answer = cedar.isAuthorized({
            ...toCedarQuestion(q, schema),
            policies: { staticPolicies: Object.fromEntries(policies.map(({ name, text }) => [name, text])) },
          })
          if (answer.type === 'failure') throw new Error(JSON.stringify(answer.errors))
          return answer.response
        })
        const failed = diagnostics.errors.map(({ policyId }) => policyId)
        const forbids = [...(decision === 'deny' ? diagnostics.reason : []), ...failed].filter((id) =>
          policies.some(({ name, effect }) => name === id && effect === 'forbid'),
        )
        const expected =
          forbids.length > 0
            ? { effect: 'forbid', policies: forbids.sort() }
            : { effect: decision === 'allow' ? 'permit' : 'none', policies: diagnostics.reason.sort() }
        const { errors, ...answer } = createPolicySet(policies, ground).evaluate(q)
        expect(answer).toEqual(expected)
        expect(errors.map((error) => error.split(':')[0])).toEqual(failed.sort())
      }),
      { numRuns: 120 },
    )
  })
})

describe('the engine in memory', () => {
  const everything = 'permit (principal, action, resource);'

  test('is not loaded by a server without policies, nor before the first question', () => {
    expect(atStart).toEqual({ unasked: { loaded: false, sets: 0, policies: 0, names: 0 }, effect: 'none' })
  })

  test('a set that says the same is preparsed once; sets do not mix', () => {
    const one = setOf({ p: everything })
    evaluatePolicies(one, ask())
    const { sets } = cedarUsage()
    evaluatePolicies(setOf({ p: everything }), ask())
    expect(cedarUsage().sets).toBe(sets)
    const other = setOf({ p: everything, q: 'forbid (principal, action, resource);' })
    for (let n = 0; n < 3; n++) {
      expect(evaluatePolicies(other, ask()).effect).toBe('forbid')
      expect(evaluatePolicies(one, ask()).effect).toBe('permit')
    }
  })

  test('thousands of sets come and go: names and policies stay bounded, and each says what it says', () => {
    for (let n = 0; n < 4500; n++) {
      const text = `permit (principal == User::"u${n}", action, resource);`
      const set = createPolicySet(
        [{ name: 'p', text, effect: 'permit', scope: { principal: `User::u${n}`, actions: ['*'], resource: '*' } }],
        ground,
      )
      if (evaluatePolicies(set, ask({ principal: { id: `u${n}` } })).effect !== 'permit') throw new Error(`set ${n}`)
    }
    const { sets, names, policies } = cedarUsage()
    expect(sets).toBeLessThanOrEqual(2000)
    expect(names).toBeLessThanOrEqual(2001)
    expect(policies).toBeLessThanOrEqual(12_000)
  })

  test('after a trap a new instance answers as the old one did', () => {
    const set = setOf({ p: everything })
    expect(evaluatePolicies(set, ask()).effect).toBe('permit')
    const trap = `permit (principal, action, resource) when { ${'('.repeat(3000)}true${')'.repeat(3000)} };`
    expect(() => withCedar((cedar) => cedar.policyToJson(trap))).toThrow(CedarFailure)
    expect(cedarUsage()).toEqual({ loaded: false, sets: 0, policies: 0, names: 0 })
    expect(evaluatePolicies(set, ask()).effect).toBe('permit')
  })
})
