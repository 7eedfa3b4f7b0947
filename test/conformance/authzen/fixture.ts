// The fixture of the certification scenario of AuthZEN (openid/authzen, certification/authorization-api-1_0-scenario.md, "Required Fixture"), as an
// operator of this server would write it: alice owns both records, bob may see them and is an administrator, record-2 is in the archive. People
// are known by their `sub`, so `alice` and `bob` stand for theirs in what is asked and answered.
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { createPolicy, putPolicySchema } from '#src/access/policies/policies.ts'
import { writeRelations } from '#src/access/relations/relations.ts'
import { createApi } from '#src/apis/apis.ts'
import { ensureOwnApi } from '#src/bootstrap/own-api.ts'
import { createClient } from '#src/clients/clients.ts'
import { createUser } from '#src/users/users.ts'
import { change } from '#test/support/installation.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

export type Answer = { status: number; headers: Headers; body: Record<string, unknown>; text: string }

export type Pdp = {
  server: TestServer
  /** A key without the scope for asking. */
  weakKey: string
  /** @param body text is sent as it is. @param path after /access/v1/ */
  ask(path: string, body: unknown, options?: { method?: string; headers?: Record<string, string> }): Promise<Answer>
  stop(): Promise<void>
}

const identifier = 'https://records.example/api'

export async function startPdp(): Promise<Pdp> {
  const server = await startServer()
  const { prisma } = server.database
  const ownApi = `${server.url}/api`
  await ensureOwnApi(server.database, ownApi, change())
  await createClient(
    prisma,
    { id: 'pep', type: 'service', apis: { [ownApi]: ['access:evaluate', 'clients:read'] } },
    [],
    change(),
  )
  const give = async (scope: string) =>
    (await createApiKey(prisma, { name: scope, apis: { [ownApi]: [scope] }, owner: { clientId: 'pep' } }, change()))
      .value
  const [key, weakKey] = [await give('access:evaluate'), await give('clients:read')]

  const alice = (await createUser(prisma, { email: 'alice@example.com' }, change())).id
  const bob = (await createUser(prisma, { email: 'bob@example.com', attributes: { role: 'admin' } }, change())).id
  await createApi(
    prisma,
    {
      identifier,
      name: 'Records',
      scopes: { read: 'Read', write: 'Write', delete: 'Delete' },
      objects: { record: { owner: ['read', 'write'], viewer: ['read'] } },
    },
    change(),
  )
  const write = ['record-1', 'record-2'].flatMap((id) => [
    `record:${id}#owner@user:${alice}`,
    `record:${id}#viewer@user:${bob}`,
  ])
  await writeRelations(prisma, { write: [...write, 'record:record-2#parent@folder:archive'], delete: [] }, change())
  const declared = {
    attributes: '{ role?: String }',
    subject: '{ role?: String }',
    action: '{ soft?: Bool }',
    objects: { folder: {}, record: { properties: '{ status?: String }' } },
  }
  await putPolicySchema(prisma, identifier, 0, declared, change())
  const policy = (name: string, text: string) =>
    createPolicy(prisma, { apiIdentifier: identifier, name, text, state: 'enforced' }, change())
  const archived = `(resource.properties has status && resource.properties.status == "archived" || resource in folder::"archive")`
  const administers = `(context.subject_properties has role && context.subject_properties.role == "admin" || principal is User && principal.attributes has role && principal.attributes.role == "admin")`
  await policy(
    'archive-is-closed',
    `forbid (principal, action == Action::"write", resource is record) when { ${archived} } unless { ${administers} };`,
  )
  await policy(
    'administrators-write-in-the-archive',
    `permit (principal, action == Action::"write", resource is record) when { ${archived} && ${administers} };`,
  )
  await policy(
    'owners-delete-softly',
    `permit (principal, action == Action::"delete", resource is record)
     when { principal in resource.owner && context.action_properties has soft && context.action_properties.soft };`,
  )
  await server.settle()

  const replace = (text: string, pairs: [string, string][]) =>
    pairs.reduce((before, [from, to]) => before.replaceAll(`"${from}"`, `"${to}"`), text)
  return {
    server,
    weakKey,
    async ask(path, body, { method = 'POST', headers = {} } = {}) {
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      const response = await fetch(`${server.url}/access/v1/${path}`, {
        method,
        headers: { 'Content-Type': 'application/json', 'X-API-Key': key, Accept: 'application/json', ...headers },
        ...(method !== 'GET' && {
          body: replace(text, [
            ['alice', alice],
            ['bob', bob],
          ]),
        }),
      })
      const answered = replace(await response.text(), [
        [alice, 'alice'],
        [bob, 'bob'],
      ])
      return { status: response.status, headers: response.headers, body: JSON.parse(answered), text: answered }
    },
    stop: () => server.stop(),
  }
}

export const alice = { type: 'user', id: 'alice' }
export const bob = { type: 'user', id: 'bob' }
export const record = (number: 1 | 2, status?: string) => ({
  ...{ type: 'record', id: `record-${number}` },
  ...(status !== undefined && { properties: { status } }),
})
export const read = { name: 'read' }
export const write = { name: 'write' }
export const without = (object: Record<string, unknown>, name: string) =>
  Object.fromEntries(Object.entries(object).filter(([own]) => own !== name))

/** The modules that the plans of every endpoint have, by the names of the conformance suite.
 *  @param plan the first part of their names. @param question a good one. */
export function transportModules(plan: string, question: object): [name: string, sent: Sent][] {
  const text = JSON.stringify(question)
  return [
    [`${plan}-reject-get-method (10.1)`, { method: 'GET', status: 405 }],
    [`${plan}-reject-put-method (10.1)`, { method: 'PUT', status: 405 }],
    [`${plan}-reject-top-level-array (10.1.1)`, { body: `[${text}]`, status: 400 }],
    [`${plan}-reject-non-json-content-type (10.1)`, { headers: { 'Content-Type': 'text/plain' }, status: 400 }],
    [
      `${plan}-accept-content-type-with-charset (10.1)`,
      { headers: { 'Content-Type': 'application/json; charset=utf-8' }, status: 200 },
    ],
    [`${plan}-reject-malformed-json (10.1.2)`, { body: text.slice(0, -1), status: 400 }],
    [`${plan}-reject-empty-body (10.1.2)`, { body: '', status: 400 }],
    [`${plan}-unknown-top-level-fields-ignored (10.1.1)`, { more: { foo: 'bar', futureField: { nested: true } } }],
    [
      `${plan}: a member that comes twice is refused (11.5)`,
      { body: `{"context":{"a":1},"c\\u006fntext":{"a":2},${text.slice(1)}`, status: 400 },
    ],
    [
      `${plan}: numbers and texts that no two readers share are survived (11.5)`,
      { more: { context: { big: 2 ** 60, half: '\ud800' } } },
    ],
    [
      `${plan}: a body without end of nesting is refused (11.7)`,
      { body: `{"context":{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}},${text.slice(1)}`, status: 400 },
    ],
    [
      `${plan}: a body that is too large is refused (11.7)`,
      { more: { context: { a: 'x'.repeat(70_000) } }, status: 413 },
    ],
  ]
}
export type Sent = {
  body?: string
  more?: object
  method?: string
  headers?: Record<string, string>
  status?: number
}
