// The metadata document of a policy decision point (Authorization API 1.0, 9).
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.stop())

const document = async (suffix = '') => {
  const response = await fetch(`${server.url}/.well-known/authzen-configuration${suffix}`)
  return { status: response.status, headers: response.headers, text: await response.text() }
}

test('is found by GET, without credentials, as application/json with 200 (9.2, 9.2.1, 9.2.2)', async () => {
  const { status, headers } = await document()
  expect([status, headers.get('content-type')]).toEqual([200, 'application/json; charset=utf-8'])
})

test('names the decision point by the identifier that its address is made of, without query and fragment (9.1.1, 9.2.3)', async () => {
  expect(JSON.parse((await document()).text).policy_decision_point).toBe(server.url)
  expect(server.config.issuerUrl).not.toMatch(/[?#]/)
})

test('has every endpoint at its default path, and each answers (9.1.1, 10.1)', async () => {
  const { policy_decision_point, ...endpoints } = JSON.parse((await document()).text)
  const at = (path: string) => `${server.url}/access/v1/${path}`
  expect(endpoints).toEqual({
    access_evaluation_endpoint: at('evaluation'),
    access_evaluations_endpoint: at('evaluations'),
    search_subject_endpoint: at('search/subject'),
    search_resource_endpoint: at('search/resource'),
    search_action_endpoint: at('search/action'),
  })
  for (const address of Object.values(endpoints) as string[])
    expect((await fetch(address, { method: 'POST', body: '{}' })).status, address).toBe(401)
})

test('has no parameter without a value: no capabilities, no signed_metadata (9.1.2, 9.1.3, 9.2.2)', async () => {
  for (const [name, value] of Object.entries(JSON.parse((await document()).text)))
    expect([name, value === null || value === '' || (Array.isArray(value) && value.length === 0)]).toEqual([
      name,
      false,
    ])
})

test('may be kept for a while (11.9)', async () => {
  expect((await document()).headers.get('cache-control')).toMatch(/^public, max-age=\d+$/)
})

test('exists once: there is one tenant (9.2)', async () => {
  expect((await document('/tenant1')).status).toBe(404)
})
