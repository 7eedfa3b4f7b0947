// The browser code that the console offers to copy, filled in for an application as its page shows it, in a page of another origin.
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { decodeJwt } from 'jose'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { codeFor } from '#src/admin/console/applications/code.ts'
import { createClient } from '#src/clients/clients.ts'
import { clientSettings } from '#src/clients/settings.ts'
import { launchBrowser, openPage } from '#test/support/browser.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const main = `import { comeBack, signIn } from './sign-in.js'
const tokens = await comeBack().catch((error) => ({ error: error.message }))
document.querySelector('#out').textContent = JSON.stringify(tokens ?? null)
document.querySelector('button').onclick = signIn`

let server: TestServer
let j: Journey
let browser: Browser
let code = ''
const site = createServer((request, response) => {
  const path = new URL(request.url ?? '', 'http://localhost').pathname
  const script = path === '/main.js' ? main : path === '/sign-in.js' ? code : undefined
  response.setHeader('Content-Type', script === undefined ? 'text/html' : 'text/javascript')
  response.end(
    script ??
      '<!doctype html><script type="module" src="/main.js"></script><button>Sign in</button><pre id="out"></pre>',
  )
})

beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  browser = await launchBrowser()
  await once(site.listen(0, 'localhost'), 'listening')
  const redirect = `http://localhost:${(site.address() as AddressInfo).port}/it's`
  const record = await createClient(
    server.database.prisma,
    { id: 'page', type: 'spa', redirectUris: [redirect], scopes: ['openid', 'email'] },
    [],
    change(),
  )
  await server.settle()
  const offered = codeFor('page', clientSettings(record), { issuer: server.url })
  expect(offered?.programs.map(({ name }) => name)).toEqual(['JavaScript', 'TypeScript'])
  code = offered?.programs[0]?.text ?? ''
})
afterAll(async () => {
  await browser?.close()
  site.close()
  await server?.stop()
})

test('signs a person in, and leaves no code in the address', async () => {
  const { page, complaints, close } = await openPage(browser)
  const home = `http://localhost:${(site.address() as AddressInfo).port}/it's`
  await page.goto(home)
  await page.getByText('null').waitFor()
  await page.click('button')
  await page.fill('[name=identifier]', 'alice@example.com')
  await page.fill('[name=password]', password)
  await page.click('.primary')
  await page.click('[name=decision][value=allow]')
  await page.waitForURL(`${home}**`)
  await page.getByText('id_token').waitFor()
  expect(page.url()).toBe(home)
  const tokens = JSON.parse((await page.textContent('#out')) ?? '{}')
  expect(decodeJwt(tokens.id_token)).toMatchObject({ iss: server.url, aud: 'page', sub: j.alice.id })

  // An answer that nobody asked for is not redeemed.
  await page.evaluate(() => sessionStorage.setItem('sign-in', JSON.stringify({ state: 'mine', verifier: 'v' })))
  await page.goto(`${home}?code=x&state=other`)
  await page.getByText('this answer is not ours').waitFor()
  expect(complaints).toEqual([])
  await close()
})
