// The admin API on a whole server, for a caller whose scopes the test chooses. What comes back is held against the description: an answer
// that has a field which is not in it, or lacks one that is, fails the test that asked.
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { expect } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { ensureOwnApi } from '#src/bootstrap/own-api.ts'
import { createClient } from '#src/clients/clients.ts'
import { change } from './installation.ts'
import { startServer, type TestServer } from './server.ts'

export type AdminApi = {
  server: TestServer
  /** The resource itself. */
  ownApi: string
  call(method: string, path: string, options?: CallOptions): Promise<Answer>
  stop(): Promise<void>
}

type CallOptions = {
  body?: unknown
  /** Default: every scope there is. */
  scopes?: readonly string[]
  headers?: Record<string, string>
}

// biome-ignore lint/suspicious/noExplicitAny: what a test looks at it says itself
export type Answer = { status: number; headers: Headers; body: any }

type Described = { paths: Record<string, Record<string, { responses: Record<string, object> }>>; components: object }

export async function startAdminApi(options: Parameters<typeof startServer>[0] = {}): Promise<AdminApi> {
  const server = await startServer(options)
  const { prisma } = server.database
  const ownApi = `${server.url}/api`
  await ensureOwnApi(server.database, ownApi, change())
  const all = Object.keys(ownScopes)
  await createClient(prisma, { id: 'robot', type: 'service', apis: { [ownApi]: all } }, [], change())
  await server.settle()
  const keys = new Map<string, string>()
  const keyFor = async (scopes: readonly string[]) => {
    const name = scopes.join(' ')
    const found = keys.get(name)
    if (found) return found
    const { value } = await createApiKey(
      prisma,
      { name: 'test', apis: { [ownApi]: [...scopes] }, owner: { clientId: 'robot' } },
      change(),
    )
    keys.set(name, value)
    return value
  }
  const described = (await (await fetch(`${server.url}/api/openapi.json`)).json()) as Described
  const judge = judgeOf(described)

  return {
    server,
    ownApi,
    async call(method, path, { body, scopes = all, headers = {} } = {}) {
      const response = await fetch(`${server.url}/api/v1${path}`, {
        method,
        headers: {
          'X-API-Key': await keyFor(scopes),
          ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await response.text()
      const answer = {
        status: response.status,
        headers: response.headers,
        body: isJson(response) ? JSON.parse(text) : text === '' ? undefined : text,
      }
      if (text !== '') judge(method, path, answer)
      return answer
    },
    stop: () => server.stop(),
  }
}

const isJson = ({ headers }: Response): boolean =>
  /^application\/(\w+\+)?json\b/.test(headers.get('content-type') ?? '')

function judgeOf({ paths, components }: Described) {
  const ajv = new Ajv2020({ strict: false, validateFormats: false })
  ajv.addSchema({ $id: 'api', components })
  const compiled = new Map<string, ValidateFunction>()
  const patterns = Object.keys(paths).map((path) => ({
    path,
    // What is written out goes before what stands for anything: /policies/schema, /policies/{id}.
    variables: path.split('{').length,
    pattern: new RegExp(`^${path.replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{\w+\}/g, '[^/]+')}$`),
  }))
  patterns.sort((a, b) => a.variables - b.variables)
  return (method: string, path: string, { status, body }: Answer): void => {
    const bare = path.split('?')[0] ?? ''
    const found = patterns.find(({ pattern }) => pattern.test(bare))
    const operation = found && paths[found.path]?.[method.toLowerCase()]
    if (!operation) {
      expect([404, 405, 501]).toContain(status)
      return
    }
    expect(Object.keys(operation.responses), `${method} ${bare} answers what is not in its description`).toContain(
      String(status),
    )
    const name = `${method} ${found.path} ${status}`
    let validate = compiled.get(name)
    if (!validate) {
      const schema = JSON.stringify(schemaOf(operation.responses[status] ?? {}, components)).replaceAll('"#/', '"api#/')
      validate = ajv.compile(JSON.parse(schema))
      compiled.set(name, validate)
    }
    expect(validate(body) ? null : validate.errors, `${name} is not what its description says`).toBeNull()
  }
}

function schemaOf(
  response: { $ref?: string; content?: Record<string, { schema: object }> },
  components: object,
): object {
  if (response.$ref) {
    const named = (components as { responses: Record<string, object> }).responses[response.$ref.split('/').at(-1) ?? '']
    return schemaOf(named ?? {}, components)
  }
  return Object.values(response.content ?? {})[0]?.schema ?? {}
}
