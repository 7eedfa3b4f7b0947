// The main journey over real HTTP, driven by openid-client as a relying party would: sign in, agree, call, refresh, leave.
import * as oidc from 'openid-client'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { furnish, orders, password, stock } from '#test/support/installation.ts'
import { type Page, Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let home: Awaited<ReturnType<typeof furnish>>
let shop: oidc.Configuration
beforeAll(async () => {
  server = await startServer()
  home = await furnish(server)
  shop = await oidc.discovery(new URL(server.url), 'shop-web', undefined, oidc.ClientSecretBasic(home.secret), { execute: [oidc.allowInsecureRequests] })
})
afterAll(() => server.stop())

async function begin(parameters: Record<string, string> = {}, config = shop) {
  const verifier = oidc.randomPKCECodeVerifier()
  const state = oidc.randomState()
  const nonce = oidc.randomNonce()
  const url = oidc.buildAuthorizationUrl(config, {
    redirect_uri: home.callback, scope: 'openid profile email', code_challenge: await oidc.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', state, nonce, ...parameters,
  })
  const finish = (page: Page, more?: Parameters<typeof oidc.authorizationCodeGrant>[3]) =>
    oidc.authorizationCodeGrant(config, new URL(page.url), { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce }, more)
  return { url: url.href, finish, verifier, state, nonce }
}

async function signIn(person: Person, url: string): Promise<Page> {
  const login = await person.open(url)
  expect(login.status).toBe(200)
  const consent = await person.submit(login, { identifier: 'alice@example.com', password })
  if (!consent.url.includes('/consent')) return consent
  const scopes = [...consent.text.matchAll(/name="scope"[^>]*value="([^"]*)"|value="([^"]*)"[^>]*name="scope"/g)].map((match) => match[1] ?? match[2] ?? '')
  return person.submit(consent, { decision: 'allow', scope: scopes })
}

test('a person signs in, agrees, and the application learns who they are', async () => {
  const person = new Person(server.url)
  const { url, finish } = await begin()
  const back = await signIn(person, url)
  console.log(back.url, back.status, back.text.slice(0, 1500))
  const tokens = await finish(back)
  expect(tokens.claims()).toMatchObject({ iss: server.url, sub: home.alice.id, aud: 'shop-web' })
  const info = await oidc.fetchUserInfo(shop, tokens.access_token, home.alice.id)
  expect(info).toMatchObject({ email: 'Alice@Example.com', email_verified: true, name: 'Alice Liddell' })
  const refreshed = await oidc.refreshTokenGrant(shop, tokens.refresh_token ?? '')
  expect(refreshed.refresh_token).not.toBe(tokens.refresh_token)
  console.log(refreshed)
})
