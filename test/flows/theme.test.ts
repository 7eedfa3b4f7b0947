// One sheet of the operator's own, on every hosted page, from our origin.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readConfig } from '#src/config.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const folder = mkdtempSync(join(tmpdir(), 'sallyport-theme-'))
const file = join(folder, 'theme.css')
const sheet = ':root { --accent: #7a1fa2; }'
let server: TestServer
beforeAll(async () => {
  writeFileSync(file, sheet)
  server = await startServer({ env: { THEME_CSS_FILE: file } })
})
afterAll(async () => {
  await server.stop()
  rmSync(folder, { recursive: true })
})

test('it is linked after ours, by an address with its hash, and served as a sheet that may be kept', async () => {
  const page = await new Person(server.url).open('/account/deleted')
  const links = [...page.text.matchAll(/<link rel="stylesheet" href="([^"]*)"/g)].map(([, href]) => href ?? '')
  expect(links).toEqual([
    expect.stringMatching(/^\/assets\/sallyport\.[\w-]{12}\.css$/),
    expect.stringMatching(/^\/assets\/theme\.[\w-]{12}\.css$/),
  ])
  const answer = await fetch(server.url + links[1])
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/css; charset=utf-8'])
  expect(answer.headers.get('cache-control')).toContain('immutable')
  expect(await answer.text()).toBe(sheet)
})

test('it is bounded, and absent unless it is given', () => {
  expect(() => readConfig({ THEME_CSS: 'x'.repeat(16_385) })).toThrow('THEME_CSS must have at most 16384 characters')
  expect(readConfig({}).themeCss).toBeUndefined()
})
