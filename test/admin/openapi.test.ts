// The description of the admin API: it is a valid one, it is whole, and a client made from it works.
import { Validator } from '@seriousme/openapi-schema-validator'
import { OpenAPIClientAxios } from 'openapi-client-axios'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { adminRoutes } from '#src/admin/api/router.ts'
import { type AdminApi, startAdminApi } from '#test/support/admin-api.ts'
import { change } from '#test/support/installation.ts'

let api: AdminApi
// biome-ignore lint/suspicious/noExplicitAny: looked at as a reader of the document would
let document: any

beforeAll(async () => {
  api = await startAdminApi()
  document = await (await fetch(`${api.server.url}/api/openapi.json`)).json()
})
afterAll(() => api.stop())

test('is OpenAPI 3.1, as a validator of others judges', async () => {
  const result = await new Validator().validate(structuredClone(document))
  expect(result).toEqual({ valid: true })
  expect(document.openapi).toMatch(/^3\.1\./)
})

test('has every route, each under a name of its own and with the scope that opens it', () => {
  const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods as object))
  const routes = adminRoutes({ database: {}, doors: {}, config: {}, secretKeys: {} } as never)
  expect(operations).toHaveLength(routes.length)
  expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(routes.length)
  for (const { name, scope, path, method } of routes) {
    const operation = document.paths[path.replace(/:(\w+)/g, '{$1}')][method]
    expect([operation.operationId, operation.security[0].oauth2]).toEqual([name, [scope]])
  }
})

test('is the same for everybody, kept by its ETag, and refers to nothing that is not there', async () => {
  const first = await fetch(`${api.server.url}/api/openapi.json`)
  const etag = first.headers.get('etag') ?? ''
  expect((await fetch(first.url, { headers: { 'If-None-Match': etag } })).status).toBe(304)
  const text = await first.text()
  for (const [, group = '', name = ''] of text.matchAll(/"#\/components\/(\w+)\/([^"]+)"/g))
    expect(Object.keys(document.components[group]), name).toContain(name)
  expect(text).not.toContain('$defs')
})

test('a client made from it creates, lists and deletes an application', async () => {
  const { prisma } = api.server.database
  const scopes = ['clients:read', 'clients:write']
  const key = { name: 'made', apis: { [api.ownApi]: scopes }, owner: { clientId: 'robot' } }
  const { value } = await createApiKey(prisma, key, change())
  const made = new OpenAPIClientAxios({
    definition: document,
    axiosConfigDefaults: { headers: { 'X-API-Key': value } },
  })
  // biome-ignore lint/suspicious/noExplicitAny: its methods are made from the document
  const client: any = await made.init()
  const created = await client.createClient(null, { clientId: 'from-the-description', type: 'service' })
  expect([created.status, created.data.clientId]).toEqual([201, 'from-the-description'])
  const listed = await client.listClients({ q: 'from-the' })
  expect(listed.data.data).toHaveLength(1)
  expect((await client.deleteClient({ id: 'from-the-description' })).data).toEqual({
    id: 'from-the-description',
    deleted: true,
  })
  expect((await client.listClients({ q: 'from-the' })).data.data).toHaveLength(0)
})

test('its page for readers shows every operation, and keeps to the policy of all pages', async () => {
  const page = await fetch(`${api.server.url}/api/docs`)
  expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
  const html = await page.text()
  for (const methods of Object.values(document.paths))
    for (const { operationId } of Object.values(methods as Record<string, { operationId: string }>))
      expect(html).toContain(`id="${operationId}"`)
  expect(html).not.toMatch(/<script|style=|<style| on\w+=/)
})
