// From a document to routes: what it says becomes what a gateway asks, and what it says that no route can ask is refused by name.
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RouteRecord } from '#src/apis/routes.ts'
import { matchRoute } from '#src/gate/route-match.ts'
import { readOpenapi } from '#src/openapi/document.ts'
import { type OpenapiRoute, routesOf } from '#src/openapi/routes.ts'
import { sentence } from '#src/refusal.ts'

const frame = { host: 'api.example.com', api: 'https://api.example.com/orders' }
const oauth = { type: 'oauth2', flows: { clientCredentials: { tokenUrl: '/t', scopes: { 'orders:read': 'See' } } } }
const securitySchemes = {
  oauth,
  oidc: { type: 'openIdConnect', openIdConnectUrl: '/.well-known/openid-configuration' },
  bearer: { type: 'http', scheme: 'Bearer' },
  basic: { type: 'http', scheme: 'basic' },
  digest: { type: 'http', scheme: 'digest' },
  key: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
  otherKey: { type: 'apiKey', in: 'header', name: 'X-Key' },
  keyInAddress: { type: 'apiKey', in: 'query', name: 'key' },
  session: { type: 'apiKey', in: 'cookie', name: 'session' },
  certificate: { type: 'mutualTLS' },
  named: { $ref: '#/components/securitySchemes/oauth' },
  circle: { $ref: '#/components/securitySchemes/circle' },
  elsewhere: { $ref: 'https://example.com/schemes.json#/oauth' },
}
const read = (document: unknown) => routesOfText(typeof document === 'string' ? document : JSON.stringify(document))
function routesOfText(text: string, more: { basePath?: string; host?: string } = {}) {
  const opened = readOpenapi(Buffer.from(text), 'orders.yaml')
  return 'flaws' in opened ? opened : routesOf(opened.document, { ...frame, ...more })
}
const documentOf = (paths: unknown, more: object = {}) => ({
  openapi: '3.1.0',
  info: { title: 'Orders', version: '1' },
  paths,
  components: { securitySchemes },
  ...more,
})
const routes = (paths: unknown, more?: object): OpenapiRoute[] => {
  const made = read(documentOf(paths, more))
  if ('flaws' in made) throw new Error(made.flaws.map(sentence).join('\n'))
  return made.routes
}
const route = (operation: object, more?: object) => {
  const [{ host, method, path, api, from, ...rest } = { host: '', method: '', path: '', api: '', from: '' }] = routes(
    { '/orders/{id}': { get: operation } },
    more,
  )
  expect([host, method, path, api, from]).toEqual([
    frame.host,
    'GET',
    '/orders/{id}',
    frame.api,
    'orders.yaml, GET /orders/{id}',
  ])
  return rest
}
const refusal = (document: unknown): string => {
  const made = read(document)
  return 'flaws' in made ? made.flaws.map(sentence).join('\n') : 'nothing'
}
const refused = (operation: object, more?: object) => refusal(documentOf({ '/orders/{id}': { get: operation } }, more))

describe('security', () => {
  test.each<[string, object, object, object]>([
    ['scopes of oauth2', { security: [{ oauth: ['b', 'a'] }] }, {}, { scopes: ['a', 'b'] }],
    ['scopes of openIdConnect', { security: [{ oidc: ['orders:read'] }] }, {}, { scopes: ['orders:read'] }],
    ['a scheme behind a reference', { security: [{ named: ['orders:read'] }] }, {}, { scopes: ['orders:read'] }],
    ['nothing but to be known', { security: [{ bearer: [] }] }, {}, {}],
    ['what the document says for all', {}, { security: [{ oauth: ['orders:read'] }] }, { scopes: ['orders:read'] }],
    [
      'the operation before the document',
      { security: [{ oauth: ['orders:write'] }] },
      { security: [{ oauth: ['orders:read'] }] },
      { scopes: ['orders:write'] },
    ],
    ['[] : everybody', { security: [] }, { security: [{ oauth: ['orders:read'] }] }, { anonymous: true }],
    ['{} : everybody', { security: [{}] }, {}, { anonymous: true }],
    [
      'alternatives that ask the same',
      { security: [{ oauth: ['a', 'b'] }, { oidc: ['b', 'a', 'a'] }] },
      {},
      { scopes: ['a', 'b'] },
    ],
    [
      'keys, passwords and sessions beside tokens: they have the scopes that they were given here',
      { security: [{ key: [] }, { oauth: ['a'] }, { basic: [] }, { session: [] }] },
      {},
      { scopes: ['a'] },
    ],
  ])('%s', (_what, operation, more, asked) => expect(route(operation, more)).toEqual(asked))

  test.each<[string, object, object, RegExp]>([
    [
      'nothing said anywhere',
      {},
      {},
      /: security is said neither here nor for the whole document\. .* security: \[\] if everybody/,
    ],
    ['null', { security: null }, {}, /: security is not a list/],
    [
      'an unknown scheme',
      { security: [{ ouath: [] }] },
      {},
      /security\[0\] names "ouath", which is not among components/,
    ],
    ['the name of something that every object has', { security: [{ constructor: [] }] }, {}, /names "constructor"/],
    ['alternatives with different scopes', { security: [{ oauth: ['a'] }, { oauth: ['b'] }] }, {}, /different scopes/],
    [
      'more scopes in one than in the other',
      { security: [{ oauth: ['a'] }, { oidc: ['a', 'b'] }] },
      {},
      /different scopes/,
    ],
    [
      'everybody, or somebody',
      { security: [{}, { oauth: ['a'] }] },
      {},
      /lets everybody through, and asks for something/,
    ],
    [
      'two credentials at once',
      { security: [{ oauth: ['a'], key: [] }] },
      {},
      /security\[0\] wants several credentials/,
    ],
    ['scopes of what has none', { security: [{ key: ['a'] }] }, {}, /names scopes or roles for "key", which has none/],
    ['no list of scopes', { security: [{ oauth: 'a' }] }, {}, /has no list of scopes/],
    ['a key in the address', { security: [{ keyInAddress: [] }] }, {}, /key in the address/],
    ['another header', { security: [{ otherKey: [] }] }, {}, /header "X-Key", which is not looked at/],
    ['another scheme of HTTP', { security: [{ digest: [] }] }, {}, /HTTP scheme that is not taken/],
    ['a client certificate', { security: [{ certificate: [] }] }, {}, /of type "mutualTLS"/],
    ['a scheme that refers to itself', { security: [{ circle: [] }] }, {}, /"circle", which refers to itself/],
    ['a scheme of another document', { security: [{ elsewhere: [] }] }, {}, /which is not in this document/],
  ])('refuses %s', (_what, operation, more, words) => {
    const said = refused(operation, more)
    expect(said).toMatch(/^orders\.yaml, GET \/orders\/\{id\}: /)
    expect(said).toMatch(words)
  })
})

describe('what OpenAPI has no word for', () => {
  const security = [{ oauth: ['orders:read'] }]
  test('relation, roles, levels and age of the sign-in', () =>
    expect(
      route({
        security,
        'x-sallyport-relation': 'owner@order:{id}',
        'x-sallyport-roles': ['support'],
        'x-sallyport-acr-values': ['urn:sallyport:acr:2fa'],
        'x-sallyport-max-age': 900,
        'x-other': 'is not ours',
      }),
    ).toEqual({
      scopes: ['orders:read'],
      relation: 'owner@order:{id}',
      roles: ['support'],
      acrValues: ['urn:sallyport:acr:2fa'],
      maxAge: 900,
    }))

  test.each<[string, object, RegExp]>([
    [
      'a misspelt name',
      { 'x-sallyport-relations': 'owner@order:{id}' },
      /x-sallyport-relations is not a name known here/,
    ],
    ['a name that every object has', { 'x-sallyport-constructor': 1 }, /is not a name known here/],
    [
      'a relation to what the path lacks',
      { 'x-sallyport-relation': 'owner@order:{nr}' },
      /x-sallyport-relation names \{nr\}/,
    ],
    ['a relation that is none', { 'x-sallyport-relation': ['owner'] }, /x-sallyport-relation has the wrong form/],
    ['one role as text', { 'x-sallyport-roles': 'support' }, /x-sallyport-roles has the wrong form/],
    ['no role', { 'x-sallyport-roles': [] }, /x-sallyport-roles has the wrong form/],
    ['a role twice', { 'x-sallyport-roles': ['a', 'a'] }, /x-sallyport-roles\[1\] repeats/],
    ['an age in words', { 'x-sallyport-max-age': '900' }, /x-sallyport-max-age has the wrong form/],
    ['no age', { 'x-sallyport-max-age': 0 }, /x-sallyport-max-age must be a whole number/],
    [
      'a condition on everybody',
      { 'x-sallyport-roles': ['a'], security: [] },
      /security lets everybody through, although/,
    ],
  ])('refuses %s', (_what, operation, words) => expect(refused({ security, ...operation })).toMatch(words))

  test('refuses it where it would mean every operation', () => {
    expect(refused({ security }, { 'x-sallyport-roles': ['a'] })).toMatch(
      /orders\.yaml: x-sallyport-roles stands outside/,
    )
    const item = { 'x-sallyport-roles': ['a'], get: { security } }
    expect(refusal(documentOf({ '/orders': item }))).toMatch(/orders\.yaml, \/orders: x-sallyport-roles stands beside/)
  })
})

describe('paths', () => {
  const security = [{ oauth: ['orders:read'] }]
  const get = { security }

  test.each<[string, unknown, string]>([
    ['no server', undefined, '/orders'],
    ['a server without a path', [{ url: 'https://api.example.com' }], '/orders'],
    ['a server with one', [{ url: 'https://api.example.com/v1/' }], '/v1/orders'],
    ['several with the same', [{ url: 'https://a.example/v1' }, { url: '/v1/' }], '/v1/orders'],
    ['variables in its name', [{ url: 'https://{region}.example.com:{port}/v1' }], '/v1/orders'],
  ])('%s', (_what, servers, path) =>
    expect(routes({ '/orders': { get } }, servers ? { servers } : {})[0]?.path).toBe(path),
  )

  test.each<[string, unknown, RegExp]>([
    ['servers with different paths', [{ url: '/v1' }, { url: '/v2' }], /servers have different paths/],
    ['variables in the path', [{ url: 'https://a.example/{version}' }], /variables in their path/],
    ['a path from where the document lies', [{ url: 'v1' }], /does not say where the API begins/],
    ['an address of unknown scheme', [{ url: '//a.example/v1' }], /does not say where the API begins/],
    ['no list', { url: '/v1' }, /servers is not a list/],
  ])('refuses %s, unless basePath says it', (_what, servers, words) => {
    const document = documentOf({ '/orders': { get } }, { servers })
    expect(refusal(document)).toMatch(words)
    expect(routesOfText(JSON.stringify(document), { basePath: '/api/v3/' })).toMatchObject({
      routes: [{ path: '/api/v3/orders' }],
    })
  })

  test('every method; shared descriptions; nothing of callbacks and webhooks', () => {
    const shared = { components: { securitySchemes, pathItems: { 'order s': { parameters: [], get, head: get } } } }
    const paths = {
      '/orders': { summary: 'x', put: get, post: { ...get, callbacks: { x: { '/y': { post: {} } } } }, delete: get },
      '/more': { options: get, patch: get, 'x-internal': true },
      '/shared': { $ref: '#/components/pathItems/order%20s' },
      'x-note': 1,
    }
    const names = routes(paths, { ...shared, webhooks: { paid: { post: {} } } }).map(
      ({ method, path }) => `${method} ${path}`,
    )
    expect(names.sort()).toEqual(
      [
        ...['PUT /orders', 'POST /orders', 'DELETE /orders', 'OPTIONS /more', 'PATCH /more'],
        ...['GET /shared', 'HEAD /shared'],
      ].sort(),
    )
  })

  test.each<[string, object, RegExp]>([
    ['a method that gateways do not know', { '/orders': { trace: get } }, /TRACE \/orders: method is "TRACE"/],
    ['a method in capitals: nobody would ask for it', { '/orders': { GET: get } }, /\/orders: GET is not known here/],
    [
      'part of a segment as a parameter',
      { '/orders/{id}.json': { get } },
      /GET \/orders\/\{id\}\.json: path .* is not a path/,
    ],
    ['a parameter that no route can name', { '/orders/{order-id}': { get } }, /is not a path/],
    ['a path without a slash', { orders: { get } }, /is not a path/],
    ['a path that leads up', { '/a/../b': { get } }, /dot segment/],
    [
      'a path of another document',
      { '/orders': { $ref: './other.yaml' } },
      /"\.\/other\.yaml", which is not in this document/,
    ],
    ['a path that is not there', { '/orders': { $ref: '#/components/pathItems/x' } }, /which is not there/],
    ['a path of a prototype', { '/orders': { $ref: '#/constructor' } }, /which is not there/],
    ['a path that refers to itself', { '/orders': { $ref: '#/paths/~1orders' } }, /refers to itself/],
    [
      'a reference beside an operation',
      { '/orders': { $ref: '#/paths/~1a', get }, '/a': { get } },
      /\$ref stands beside/,
    ],
    ['an operation that is none', { '/orders': { get: [] } }, /\/orders: get is not an operation/],
    ['servers of a path', { '/orders': { servers: [], get } }, /GET \/orders: servers of its path/],
    ['servers of an operation', { '/orders': { get: { ...get, servers: [] } } }, /servers of the operation/],
    ['no operation', {}, /has no operation/],
  ])('refuses %s', (_what, paths, words) => expect(refusal(documentOf(paths))).toMatch(words))

  test('plain text is tried before a parameter, in whatever order the document has them', () => {
    const asks = (scope: string) => ({ get: { security: [{ oauth: [scope] }] } })
    const paths = {
      '/{any}': asks('d'),
      '/orders/{id}/x': asks('c'),
      '/orders/{id}': asks('b'),
      '/orders/mine': asks('a'),
    }
    expect(routes(paths).map(({ path }) => path)).toEqual(['/orders/mine', '/orders/{id}', '/orders/{id}/x', '/{any}'])
  })

  test('two paths that one request may be, and that ask for different things, are refused', () => {
    const asks = (scope: string) => ({ get: { security: [{ oauth: [scope] }] } })
    expect(refusal(documentOf({ '/{shop}/me': asks('a'), '/orders/{id}': asks('b') }))).toMatch(
      /GET \/orders\/\{id\} may be the same request as \/\{shop\}\/me/,
    )
    expect(refusal(documentOf({ '/orders/{id}': asks('a'), '/orders/{name}': asks('b') }))).toMatch(/may be the same/)
    expect(routes({ '/{shop}/me': asks('a'), '/orders/{id}': asks('a') })).toHaveLength(2)
  })

  test('whatever the document, a request is judged by the path that OpenAPI means: the one with plain text first', () => {
    const segment = fc.constantFrom('a', 'b', '{x}')
    const template = fc
      .array(segment, { minLength: 1, maxLength: 3 })
      .map((parts) =>
        parts
          .map((part, index) => (part === '{x}' ? `{x${index}}` : part))
          .reduce((path, part) => `${path}/${part}`, ''),
      )
    fc.assert(
      fc.property(fc.uniqueArray(template, { minLength: 1, maxLength: 8 }), (templates) => {
        const paths = Object.fromEntries(templates.map((path) => [path, { get: { security: [{ oauth: [path] }] } }]))
        const made = read(documentOf(paths))
        if ('flaws' in made) return
        for (const path of ['/a', '/b', '/a/a', '/a/b', '/b/b', '/a/b/a', '/b/a/c', '/c/c/c']) {
          const matching = templates.filter((one) => new RegExp(`^${one.replace(/\{x\d\}/g, '[^/]+')}$`).test(path))
          const request = { method: 'GET', scheme: 'https', host: frame.host, path, query: '' } as const
          const found = matchRoute(made.routes as unknown as RouteRecord[], request)?.route.path
          // No other that matches has plain text where this one has a parameter, or both ask the same.
          const narrower = matching.filter((one) => {
            const [ours, theirs] = [found?.split('/') ?? [], one.split('/')]
            return ours.every((part, at) => part === theirs[at] || part.startsWith('{')) && one !== found
          })
          expect([found !== undefined, narrower]).toEqual([matching.length > 0, []])
        }
      }),
    )
  })
})

describe('the document itself', () => {
  const text =
    'openapi: 3.0.3\nsecurity: [{ oauth: [a] }]\ncomponents: { securitySchemes: { oauth: { type: oauth2 } } }\npaths: { /a: { get: {} } }\n'

  test('is JSON or YAML, with tabs or without', () => {
    const json = JSON.stringify(documentOf({ '/a': { get: { security: [] } } }), undefined, '\t')
    expect(routesOfText(json)).toMatchObject({ routes: [{ path: '/a', anonymous: true }] })
    expect(routesOfText(text)).toMatchObject({ routes: [{ path: '/a', scopes: ['a'] }] })
  })

  test.each<[string, string, RegExp]>([
    ['Swagger 2.0', 'swagger: "2.0"\npaths: {}\n', /orders\.yaml is Swagger 2\.0.*Convert/],
    ['OpenAPI 3.2', text.replace('3.0.3', '3.2.0'), /is OpenAPI "3\.2\.0"/],
    ['no version', 'paths: {}', /does not say openapi/],
    ['a version that is a number', 'openapi: 3.1\npaths: {}', /does not say openapi/],
    ['no paths', 'openapi: 3.1.0', /has no paths/],
    ['a list', '[]', /is not an OpenAPI document/],
    ['nothing', '', /is not an OpenAPI document/],
    ['something else', 'a: [', /cannot be read at line 1: /],
    ['a name twice, of which one reader takes the first and another the last', '{"a":1,"a":2}', /unique/],
    [
      'aliases that grow',
      `a: &a [x]\n${'bcdefgh'
        .split('')
        .map((name, at) => `${name}: &${name} [${`*${'abcdefg'[at]},`.repeat(9)}]`)
        .join('\n')}`,
      /aliases grow|nested/,
    ],
    ['more than a megabyte', `#${'x'.repeat(1_048_576)}`, /larger than 1 MB/],
  ])('refuses %s', (_what, source, words) => {
    const made = routesOfText(source)
    expect('flaws' in made ? made.flaws.map(sentence).join('\n') : 'nothing').toMatch(words)
  })

  test('says everything at once, and not more than a screen or two of it', () => {
    const paths = Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`/a${n}`, { get: {} }]))
    const made = read(documentOf(paths))
    expect('flaws' in made && made.flaws).toHaveLength(50)
  })

  test.each([['API.example.com'], ['https://api.example.com']])('%s is not a host', (host) => {
    expect(routesOfText(text, { host })).toMatchObject({ flaws: [{ field: 'host' }] })
    expect(routesOfText(text, { basePath: 'v1' })).toMatchObject({ flaws: [{ field: 'basePath' }] })
  })
})

test('the document in docs/access.md means what the page says', () => {
  const page = readFileSync('docs/access.md', 'utf8')
  const [, source = ''] = /```yaml\n(openapi: .*?)```/s.exec(page) ?? []
  expect(routesOfText(source)).toMatchObject({
    routes: [
      { path: '/v1/health', anonymous: true },
      { method: 'GET', path: '/v1/orders/{id}', scopes: ['orders:read'], relation: 'owner@order:{id}' },
      { method: 'DELETE', scopes: ['orders:refund'], roles: ['order-support'], maxAge: 900 },
    ],
  })
})
