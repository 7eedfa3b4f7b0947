// sallyport routes openapi, as a person sees it who looks first. It needs no database.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { parseDeclaration } from '#src/declaration/parse.ts'
import { runNode } from '#test/support/processes.ts'

const directory = mkdtempSync(join(tmpdir(), 'sallyport-routes-'))
afterAll(() => rmSync(directory, { recursive: true }))

const api = 'https://api.example.com/orders'
const frame = ['--api', api, '--host', 'api.example.com']
async function routes(...args: string[]) {
  const running = runNode(['src/sallyport.mjs', 'routes', 'openapi', ...args], {
    env: { DATABASE_URL: 'postgres://127.0.0.1:1/none', SECRET_KEY: 'A'.repeat(43) },
  })
  const { code } = await running.ended()
  return { code, output: running.output() }
}
function document(name: string, security: string): string {
  const path = join(directory, name)
  writeFileSync(
    path,
    `openapi: 3.1.0\nservers: [{ url: /v1 }]\npaths: { "/orders/{id}": { get: { ${security}x-sallyport-relation: "owner@order:{id}" } } }
components: { securitySchemes: { oauth: { type: oauth2 } } }\n`,
  )
  return path
}

test('prints what the declarative file would say, in its own language or as JSON', async () => {
  const path = document('orders.yaml', 'security: [{ oauth: ["orders:read"] }], ')
  const route = { host: 'api.example.com', method: 'GET', path: '/v1/orders/{id}', api }
  const wanted = { routes: [{ ...route, scopes: ['orders:read'], relation: 'owner@order:{id}' }] }
  const { code, output } = await routes(path, ...frame)
  expect([code, parseDeclaration(output)]).toEqual([0, wanted])
  expect(JSON.parse((await routes(path, ...frame, '--json')).output)).toEqual(wanted)
  expect((await routes(path, ...frame, '--base-path', '/v2')).output).toContain('path: /v2/orders/{id}')
})

test('1 with file, operation and fix for what it cannot say; 2 for wrong usage', async () => {
  const path = document('open.yaml', '')
  const refused = await routes(path, ...frame)
  expect(refused.code).toBe(1)
  expect(refused.output).toContain(
    `${path}, GET /orders/{id}: security is said neither here nor for the whole document. Say`,
  )
  expect(await routes(join(directory, 'none.yaml'), ...frame)).toMatchObject({
    code: 1,
    output: expect.stringMatching(/cannot be read \(ENOENT\)/),
  })
  expect((await routes(path, '--api', api)).code).toBe(2)
})
