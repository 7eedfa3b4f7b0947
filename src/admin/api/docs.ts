// /api/openapi.json and /api/docs: the description of the admin API, for programs and for readers. It holds nothing of the installation but
// its address, so nobody has to sign in for it.
import { hash } from 'node:crypto'
import Router from '@koa/router'
import { type Renderer, template } from '#src/http/render.ts'
import { describeAdminApi, type JsonSchema, type OpenApi, type Operation } from './openapi.ts'
import type { AdminRoute } from './route.ts'

export type ApiDocsPage = {
  issuer: string
  groups: readonly { name: string; operations: readonly OperationView[] }[]
  schemas: readonly { name: string; fields: readonly FieldView[] }[]
}

type OperationView = {
  id: string
  method: string
  path: string
  summary: string
  scope: string
  parameters: readonly FieldView[]
  body: readonly FieldView[]
  answer: { status: string; type: string; href: string | undefined; fields: readonly FieldView[] }
  curl: string
}

type FieldView = { name: string; type: string; href: string | undefined; required: boolean; description: string }

const docsPage = template<ApiDocsPage>('admin/api-docs')

export function createApiDocsRouter(deps: {
  routes: readonly AdminRoute[]
  issuerUrl: string
  renderer: Renderer
}): Router {
  const { routes, issuerUrl, renderer } = deps
  const router = new Router()
  // Made when somebody asks first: a start has better things to do.
  let kept: { document: OpenApi; text: string; etag: string } | undefined
  const description = () => {
    if (!kept) {
      const document = describeAdminApi(routes, issuerUrl)
      const text = JSON.stringify(document)
      kept = { document, text, etag: `"${hash('sha256', text, 'base64url').slice(0, 22)}"` }
    }
    return kept
  }

  router.get('/api/openapi.json', (ctx) => {
    const { text, etag } = description()
    ctx.set({ ETag: etag, 'Cache-Control': 'public, max-age=300', 'Access-Control-Allow-Origin': '*' })
    if (ctx.get('If-None-Match') === etag) {
      ctx.status = 304
      return
    }
    ctx.body = text
    ctx.type = 'application/json'
  })
  router.get('/api/docs', (ctx) => renderer.renderPage(ctx, docsPage, viewOf(description().document, issuerUrl)))
  return router
}

function viewOf({ paths, tags, components }: OpenApi, issuer: string): ApiDocsPage {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      tag: operation.tags[0],
      view: viewOfOperation(issuer, method, path, operation),
    })),
  )
  return {
    issuer,
    groups: tags.map(({ name }) => ({
      name,
      operations: operations.filter(({ tag }) => tag === name).map(({ view }) => view),
    })),
    schemas: Object.entries(components.schemas)
      .filter(([, schema]) => schema.properties !== undefined)
      .map(([name, schema]) => ({ name, fields: fieldsOf(schema) })),
  }
}

function viewOfOperation(issuer: string, method: string, path: string, operation: Operation): OperationView {
  const { operationId, summary, security, parameters = [], requestBody, responses } = operation
  const [status, answer] = Object.entries(responses)[0] ?? ['200', {}]
  const schema = schemaOf(answer)
  const body = requestBody && schemaOf(requestBody)
  return {
    id: operationId,
    method: method.toUpperCase(),
    path,
    summary,
    scope: Object.values(security[0] ?? {})
      .flat()
      .join(' '),
    parameters: parameters.map(({ name, required, description = '', schema: one, in: place }) => ({
      name,
      required,
      ...typeOf(one),
      description: place === 'header' ? `Header. ${description}` : description,
    })),
    body: body ? fieldsOf(body) : [],
    answer: { status, ...typeOf(schema), fields: fieldsOf(schema) },
    curl: curlFor(issuer, method, path, operation),
  }
}

const schemaOf = (part: object): JsonSchema =>
  Object.values((part as { content?: Record<string, { schema: JsonSchema }> }).content ?? {})[0]?.schema ?? {}

function fieldsOf({ properties = {}, required = [] }: JsonSchema): FieldView[] {
  return Object.entries(properties as Record<string, JsonSchema>).map(([name, schema]) => ({
    name,
    required: (required as string[]).includes(name),
    ...typeOf(schema),
    description: typeof schema.description === 'string' ? schema.description : '',
  }))
}

/** In the words of a reader: "array of Client". */
function typeOf(schema: JsonSchema): { type: string; href: string | undefined } {
  if (typeof schema.$ref === 'string') {
    const name = schema.$ref.split('/').at(-1) ?? ''
    return name === 'Instant' ? { type: 'date-time', href: undefined } : { type: name, href: `#schema-${name}` }
  }
  if (schema.type === 'array') {
    const { type, href } = typeOf((schema.items as JsonSchema | undefined) ?? {})
    return { type: `array of ${type}`, href }
  }
  if (Array.isArray(schema.enum))
    return { type: schema.enum.map((value) => JSON.stringify(value)).join(' | '), href: undefined }
  if ('const' in schema) return { type: JSON.stringify(schema.const), href: undefined }
  const choices = (schema.anyOf ?? schema.oneOf) as JsonSchema[] | undefined
  if (choices) {
    const all = choices.map(typeOf)
    return { type: all.map(({ type }) => type).join(' | '), href: all.find(({ href }) => href)?.href }
  }
  if (Array.isArray(schema.type)) return { type: schema.type.join(' | '), href: undefined }
  return { type: typeof schema.format === 'string' ? schema.format : String(schema.type ?? 'any'), href: undefined }
}

function curlFor(issuer: string, method: string, path: string, { parameters = [], requestBody }: Operation): string {
  const lines = [
    `curl ${method === 'get' ? '' : `-X ${method.toUpperCase()} `}"${issuer}/api/v1${path}"`,
    `-H "Authorization: Bearer $TOKEN"`,
  ]
  if (parameters.some(({ name }) => name === 'If-Match')) lines.push(`-H 'If-Match: "…"'`)
  if (requestBody) lines.push(`-H 'Content-Type: application/json'`, `-d '${exampleOf(schemaOf(requestBody))}'`)
  return lines.join(' \\\n  ')
}

function exampleOf({ properties = {}, required = [] }: JsonSchema): string {
  const fields = Object.entries(properties as Record<string, JsonSchema>)
  const shown = fields.filter(([name]) => (required as string[]).includes(name))
  const chosen = shown.length > 0 ? shown : fields.slice(0, 1)
  return JSON.stringify(Object.fromEntries(chosen.map(([name, schema]) => [name, exampleValue(schema)])))
}

function exampleValue(schema: JsonSchema): unknown {
  if (Array.isArray(schema.enum)) return schema.enum[0]
  if (schema.type === 'array') return []
  if (schema.type === 'object') return {}
  if (schema.type === 'boolean') return true
  if (schema.type === 'integer' || schema.type === 'number') return 1
  return '…'
}
