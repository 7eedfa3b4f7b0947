import { describe, expect, test } from 'vitest'
import { InvalidDeclaration } from '#src/declaration/errors.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'

const contract = `
apis:
  - identifier: https://api.example.com/orders      # RFC 8707 resource
    name: Orders
    accessTokenFormat: jwt
    accessTokenTtlSeconds: 900
    accept: [oauth, api_key, basic, session]
    introspectionClients: [orders-api]
    hideExistence: false
    scopes: { "orders:read": See orders, "orders:write": Create and change orders, "orders:delete": Delete orders }
roles:
  - { name: order-admin, permissions: ["orders:read", "orders:write", "orders:delete"] }
clients:
  - { clientId: reports-service, type: service, clientSecret: "0123456789abcdef0123456789abcdef", apis: { "https://api.example.com/orders": ["orders:read"] } }
  - { clientId: orders-api, type: service, clientSecret: "0123456789abcdef0123456789abcdef" }
  - { clientId: shop-web, type: web, clientSecret: "0123456789abcdef0123456789abcdef", redirectUris: [https://shop.example/cb], scopes: [openid, profile, email, offline_access], profile: default, refreshLeewaySeconds: 30,
      apis: { "https://api.example.com/orders": ["orders:read", "orders:write"] } }
users:
  - { email: alice@example.com, password: "correct horse battery", emailVerified: true, roles: [order-admin], attributes: { department: sales } }
routes:
  - { host: api.example.com, method: DELETE, path: "/orders/{id}", api: https://api.example.com/orders, scopes: ["orders:delete"], relation: "owner@order:{id}", anonymous: false }
`

const refusalOf = (text: string): InvalidDeclaration => {
  try {
    parseDeclaration(text)
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidDeclaration)
    return error as InvalidDeclaration
  }
  throw new Error('was accepted')
}

test('reads the file of the contract', () => {
  const declaration = parseDeclaration(contract)
  expect(declaration.clients?.map((client) => client.clientId)).toEqual(['reports-service', 'orders-api', 'shop-web'])
  expect(declaration.users?.[0]?.attributes).toEqual({ department: 'sales' })
})

test.each([[''], ['# nothing\n'], ['{}'], ['---\n']])('%j says nothing about any section', (text) =>
  expect(parseDeclaration(text)).toEqual({}),
)

describe('refused with path, line and fix', () => {
  const client = 'clients:\n  - clientId: a\n    type: spa\n    redirectUris:\n      - https://a.example/cb\n'
  test.each<[string, string, string]>([
    ['an unknown section', 'client: []\n', 'client (line 1)'],
    ['a misspelt field', `${client}    redirectUri: x\n`, 'clients[0].redirectUri (line 6)'],
    ['a missing field', 'apis:\n  - name: x\n', 'apis[0].identifier (line 2)'],
    [
      'a second redirect URI that is wrong',
      `${client}      - http://a.example/cb\n`,
      'clients[0].redirectUris[1] (line 6)',
    ],
    ['a number for text', 'apis:\n  - identifier: https://a.example\n    name: 12\n', 'apis[0].name (line 3)'],
    [
      'text for a number',
      'apis:\n  - identifier: https://a.example\n    name: x\n    accessTokenTtlSeconds: "60"\n',
      'apis[0].accessTokenTtlSeconds (line 4)',
    ],
    ['text for a list', 'roles:\n  - name: a\n    permissions: x\n', 'roles[0].permissions (line 3)'],
    ['an object for a list', 'roles: { name: a }\n', 'roles (line 1)'],
    ['a section without value', 'users:\n', 'users (line 1)'],
    ['a list for the file', '- a\n', 'file'],
    [
      'a bad scope name',
      'apis:\n  - identifier: https://a.example\n    name: x\n    scopes:\n      "a b": x\n',
      'apis[0].scopes["a b"] (line 5)',
    ],
    ['an id twice', 'roles:\n  - name: a\n  - name: a\n', 'roles[1].name (line 3)'],
    [
      'one address in two spellings',
      'users:\n  - email: a@example.com\n  - email: A@EXAMPLE.com\n',
      'users[1].email (line 3)',
    ],
    [
      'one route twice',
      `routes:\n${'  - { host: a.example, method: GET, path: /, api: https://a.example }\n'.repeat(2)}`,
      'routes[1].path (line 3)',
    ],
    [
      'a reserved id',
      'clients:\n  - { clientId: demo-service, type: service, clientSecretHash: [] }\n',
      'clients[0].clientId (line 2)',
    ],
    ['a reserved role', 'roles:\n  - name: owner\n', 'roles[0].name (line 2)'],
    [
      'a short secret',
      'clients:\n  - { clientId: a, type: service, clientSecret: short }\n',
      'clients[0].clientSecret (line 2)',
    ],
    [
      'a secret for a public client',
      `${client}    clientSecret: 0123456789abcdef0123456789abcdef\n`,
      'clients[0].clientSecret (line 6)',
    ],
    [
      'a hash that is none',
      'clients:\n  - { clientId: a, type: service, clientSecretHash: abc }\n',
      'clients[0].clientSecretHash (line 2)',
    ],
    ['a short password', 'users:\n  - email: a@example.com\n    password: short\n', 'users[0].password (line 3)'],
    [
      'a password hash of another kind',
      'users:\n  - email: a@example.com\n    passwordHash: $2b$10$x\n',
      'users[0].passwordHash (line 3)',
    ],
    [
      'an attribute that cannot be stored',
      'users:\n  - email: a@example.com\n    attributes: { a: { b: "x\\0" } }\n',
      'users[0].attributes.a.b (line 3)',
    ],
    [
      'a relation without its parameter',
      'routes:\n  - { host: a.example, method: GET, path: /, api: https://a.example, relation: "owner@order:{id}" }\n',
      'routes[0].relation (line 2)',
    ],
    ['a name used twice in one object', 'roles: []\nroles: []\n', 'line 2'],
    ['broken YAML', 'roles:\n  - {name: a\n', 'line 3'],
    ['tabs', 'roles:\n\t- name: a\n', 'line 2'],
    ['two documents', 'roles: []\n---\nroles: []\n', 'line 2'],
    ['a tag', 'roles: !!set {}\n', 'line 1'],
    ['an alias', 'roles: &a []\nusers: *a\n', 'line 2'],
    ['a name that is a number', 'roles: []\n1: x\n', 'line 2'],
    ['__proto__', 'roles: []\n__proto__: { a: b }\n', 'line 2'],
    ['NUL', 'roles:\n  - name: "a\\0"\n', 'roles[0].name (line 2)'],
  ])('%s', (_, text, field) => {
    const { flaws } = refusalOf(text)
    expect(flaws.map((flaw) => flaw.field)).toContain(field)
    for (const flaw of flaws) expect(flaw.fix).toMatch(/\S\.?$/)
  })

  test('every flaw of a file at once', () => {
    const { flaws } = refusalOf('apis:\n  - { identifier: x, name: "" }\nroles:\n  - name: A\n')
    expect(flaws.map((flaw) => flaw.field)).toEqual([
      'apis[0].identifier (line 2)',
      'apis[0].name (line 2)',
      'roles[0].name (line 4)',
    ])
  })

  test('a secret that is refused is not repeated', () => {
    expect(
      refusalOf('clients:\n  - { clientId: a, type: service, clientSecret: hunter2hunter2 }\n').message,
    ).not.toContain('hunter2')
  })
})

describe('files made to hurt', () => {
  test('a bomb of aliases', () => {
    const bomb = `a: &a [x,x]\nb: &b [${'*a,'.repeat(9)}*a]\nc: &c [${'*b,'.repeat(9)}*b]\nroles: [${'*c,'.repeat(9)}*c]\n`
    expect(refusalOf(bomb).message).toContain('alias')
  })
  test.each([
    ['['.repeat(200_000)],
    ['{a: '.repeat(100_000)],
    [`roles:\n${Array.from({ length: 1200 }, (_, depth) => `${' '.repeat(depth)}- `).join('\n')}`],
    ['- '.repeat(200_000)],
  ])('nesting without end (%#)', (text) => {
    expect(refusalOf(text).flaws.length).toBeGreaterThan(0)
  })
  test('more than 1 MB', () => {
    expect(refusalOf(`# ${'x'.repeat(1_048_576)}`).message).toContain('1 MB')
  })
})
