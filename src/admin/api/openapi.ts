// The description of the admin API (OpenAPI 3.1), made of the routes themselves: what it says a request may hold is what the request is read
// with. Served at /api/openapi.json, for readers at /api/docs.
import { z } from 'zod'
import { freshSeconds } from '#src/admin/guard.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { type AdminRoute, isSensitive } from './route.ts'

export type JsonSchema = { [name: string]: unknown }

type Parameter = {
  name: string
  in: 'path' | 'query' | 'header'
  required: boolean
  description?: string
  schema: JsonSchema
}

export type Operation = {
  operationId: string
  summary: string
  description?: string
  tags: string[]
  security: Record<string, string[]>[]
  parameters?: Parameter[]
  requestBody?: { required: boolean; content: Record<string, { schema: JsonSchema }> }
  responses: Record<string, object>
}

export type OpenApi = {
  openapi: '3.1.0'
  info: { title: string; version: string; description: string }
  servers: { url: string }[]
  tags: { name: string }[]
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, JsonSchema>; responses: object; securitySchemes: object }
}

export function describeAdminApi(routes: readonly AdminRoute[], issuerUrl: string): OpenApi {
  const schemas: Record<string, JsonSchema> = { Problem: problem }
  const paths: OpenApi['paths'] = {}
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}')
    const operations = paths[path] ?? {}
    operations[route.method] = describeRoute(route, schemas)
    paths[path] = operations
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Sallyport',
      version: '1',
      description: `Administration of ${issuerUrl}. Each operation needs a scope of the resource ${issuerUrl}/api.`,
    },
    servers: [{ url: `${issuerUrl}/api/v1` }],
    tags: [...new Set(routes.map(tagOf))].map((name) => ({ name })),
    paths,
    components: { schemas, responses, securitySchemes: securitySchemes(issuerUrl) },
  }
}

function describeRoute(route: AdminRoute, schemas: Record<string, JsonSchema>): Operation {
  const scope = [route.scope]
  const status = String(route.status ?? 200)
  const schema = toSchema(route.answer, 'output', schemas)
  const content = Object.fromEntries((route.files ?? ['application/json']).map((type) => [type, { schema }]))
  const changes = route.versioned && route.method !== 'get'
  return {
    operationId: route.name,
    summary: route.summary,
    ...(isSensitive(route) && { description: recentSignIn }),
    tags: [tagOf(route)],
    security: [{ oauth2: scope }, { apiKey: scope }, { basic: scope }],
    parameters: [...pathParameters(route), ...queryParameters(route, schemas), ...headerParameters(route)],
    ...(route.body && {
      requestBody: {
        required: true,
        content: { 'application/json': { schema: toSchema(route.body, 'input', schemas) } },
      },
    }),
    responses: {
      [status]: { description: 'Done.', content, ...(route.versioned && { headers: { ETag: etag } }) },
      ...refer('400', '401', '403'),
      ...((/:/.test(route.path) || route.files) && refer('404')),
      ...(route.method !== 'get' && refer('409')),
      ...((route.method !== 'get' || route.query) && refer('422')),
      ...(changes && refer('412', '428')),
      ...refer('429', '503'),
    },
  }
}

const recentSignIn = `Of a person it takes an access token whose sign-in had two factors and is at most ${freshSeconds} seconds ago; otherwise the answer is 401 insufficient_user_authentication (RFC 9470). Clients and their API keys sign nobody in and are not asked; an API key of a person is refused.`

/** The first part of its path that names a resource. */
const tagOf = ({ path }: AdminRoute): string => path.split('/')[1] ?? ''

function pathParameters({ path }: AdminRoute): Parameter[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
}

function queryParameters({ query }: AdminRoute, schemas: Record<string, JsonSchema>): Parameter[] {
  if (!query) return []
  const { properties = {}, required = [] } = toSchema(query, 'input', schemas) as {
    properties?: Record<string, JsonSchema>
    required?: string[]
  }
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    ...(typeof description === 'string' && { description }),
    schema: plain(schema),
  }))
}

function headerParameters({ versioned, method, once }: AdminRoute): Parameter[] {
  const text = { type: 'string' }
  return [
    ...(versioned && method !== 'get'
      ? [
          {
            name: 'If-Match',
            in: 'header',
            required: true,
            description: 'The ETag that you saw, or *.',
            schema: text,
          } as const,
        ]
      : []),
    ...(once
      ? [
          {
            name: 'Idempotency-Key',
            in: 'header',
            required: false,
            description: 'The same key with the same request does it once and answers the same, for a day.',
            schema: { type: 'string', minLength: 8, maxLength: 255 },
          } as const,
        ]
      : []),
  ]
}

/** A number or a flag in an address is text, read by a pattern; what a reader wants to know is what it stands for. */
function plain(schema: JsonSchema): JsonSchema {
  if (schema.type !== 'integer' && schema.type !== 'boolean') return schema
  const { pattern: _, enum: __, ...rest } = schema
  return typeof rest.default === 'string' ? { ...rest, default: JSON.parse(rest.default) } : rest
}

/** Schemas that have a name go to the components, once. */
function toSchema(schema: z.ZodType, io: 'input' | 'output', schemas: Record<string, JsonSchema>): JsonSchema {
  const {
    $schema: _,
    $defs = {},
    ...whole
  } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as JsonSchema & {
    $defs?: Record<string, JsonSchema>
  }
  for (const [name, definition] of Object.entries($defs)) schemas[name] = moved(definition)
  const { id, ...rest } = whole
  if (typeof id !== 'string') return moved(rest)
  schemas[id] = moved(rest)
  return { $ref: `#/components/schemas/${id}` }
}

/** What it refers to stands in the components, and has no `id` there: in JSON Schema that was an address. */
function moved(schema: JsonSchema): JsonSchema {
  const { id: _, ...rest } = schema
  return JSON.parse(
    JSON.stringify(typeof schema.id === 'string' ? rest : schema).replaceAll('"#/$defs/', '"#/components/schemas/'),
  )
}

const refer = (...statuses: string[]) =>
  Object.fromEntries(statuses.map((status) => [status, { $ref: `#/components/responses/${status}` }]))

const problem = {
  type: 'object',
  description: 'RFC 9457',
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string', description: 'For people.' },
    error: { type: 'string', description: 'For programs.' },
    flaws: {
      type: 'array',
      description: 'Everything that is wrong, each with its field and what mends it.',
      items: {
        type: 'object',
        properties: { field: { type: 'string' }, problem: { type: 'string' }, fix: { type: 'string' } },
        required: ['field', 'problem', 'fix'],
      },
    },
    requestId: { type: 'string' },
  },
  required: ['type', 'title', 'status', 'detail', 'error', 'requestId'],
}

const answers = {
  400: 'The request is malformed: a parameter or a field is unknown, missing or of the wrong form.',
  401: 'No credential, or one that is not good, or of a person whose sign-in is too long ago or too weak for this.',
  403: 'The credential lacks the scope.',
  404: 'There is no such thing.',
  409: 'It exists already, or others depend on it.',
  412: 'It was changed since you read it.',
  422: 'What was sent is understood and not acceptable; `flaws` says why.',
  428: 'If-Match is missing.',
  429: 'Too many requests.',
  503: 'Try again in a few seconds.',
}
const responses = Object.fromEntries(
  Object.entries(answers).map(([status, description]) => [
    status,
    { description, content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } } },
  ]),
)
const etag = { description: 'Which version this is.', schema: { type: 'string' } }

function securitySchemes(issuerUrl: string) {
  return {
    oauth2: {
      type: 'oauth2',
      description: `An access token for the resource ${issuerUrl}/api.`,
      flows: {
        clientCredentials: { tokenUrl: `${issuerUrl}/oauth/token`, scopes: ownScopes },
        authorizationCode: {
          authorizationUrl: `${issuerUrl}/oauth/authorize`,
          tokenUrl: `${issuerUrl}/oauth/token`,
          scopes: ownScopes,
        },
      },
    },
    apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
    basic: { type: 'http', scheme: 'basic', description: 'Id and secret of a client of type service.' },
  }
}
