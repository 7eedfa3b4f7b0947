// A person's way to tokens, and how the tokens are kept alive.
import { createHash, randomBytes } from 'node:crypto'
import { Browser, formOf, locationOf } from '../browser.ts'
import { type Connection, header, WrongAnswer } from '../connection.ts'
import { basic, callback, password, people, shops } from '../installation.ts'
import { form, type Scenario, type Target, type Tokens, tokensOf } from './scenario.ts'

const scope = 'openid profile email'
type Shop = (typeof shops)[number]
const credentials = Object.fromEntries(shops.map((shop) => [shop, basic(shop)])) as Record<Shop, string>
const shopNumber = (n: number): Shop => shops[n % shops.length] ?? shops[0]
const personNumber = (n: number): string => people[n % people.length] ?? ''

export const codeFlow: Scenario = {
  name: 'code-flow',
  title: 'code flow with PKCE, signed in',
  arms: ['engine-memory', 'engine-postgres', 'ours'],
  goals: [{ against: 'engine-memory', atLeast: 0.95 }],
  p99Compared: true,
  async prepare(target) {
    const cookies = await signInAll(target)
    const nextTurn = turns()
    return async (connection, lane) => {
      const shop = shopNumber(nextTurn(lane))
      const { path, verifier } = authorizationRequest(shop, personNumber(lane))
      const answer = await connection.get(path, `Accept: text/html\r\n${cookies[lane]}`)
      await redeem(connection, shop, codeIn(locationOf(answer)), verifier)
    }
  },
}

export const passwordLogin: Scenario = {
  name: 'login',
  title: 'sign-in and code flow', // with a password on ours, with none on the engine
  arms: ['engine-memory', 'engine-postgres', 'ours'],
  goals: [],
  async prepare(target) {
    const known = await everyLane(target, signIn) // everybody has agreed once: the measured flow has no consent page
    const nextTurn = turns()
    return async (connection, lane) => {
      await wholeFlow(browserOf(known, connection, lane), shopNumber(nextTurn(lane)), personNumber(lane))
    }
  },
}

/** Not in the table: for counting what the consent page adds. */
export const consentedLogin: Scenario = {
  ...passwordLogin,
  name: 'login-consent',
  title: 'sign-in, consent and code flow',
  arms: ['ours'],
  async prepare(target) {
    const known = await everyLane(target, signIn)
    return async (connection, lane) => {
      await wholeFlow(browserOf(known, connection, lane), shops[0], personNumber(lane), { prompt: 'consent' })
    }
  },
}

/** `milliseconds` is what the answer to the password took; `retryAfterSeconds` what a busy server asked for. */
export type Attempt = { status: number; milliseconds: number; retryAfterSeconds: number }

/** One person's try, which a busy server may turn away. */
export async function attemptLogin(browser: Browser, person: string): Promise<Attempt> {
  const { path } = authorizationRequest(shops[0], person)
  let page = locationOf(await browser.get(path))
  let answer = await browser.get(page)
  for (; answer.status === 303; answer = await browser.get(page)) page = locationOf(answer)
  const fields = formOf(answer)
  fields.set('identifier', person)
  fields.set('password', password)
  const begun = performance.now()
  const { status, head, body } = await browser.post(page, fields)
  const milliseconds = performance.now() - begun
  const retryAfterSeconds = Number(header(head, 'retry-after') ?? 0)
  if (status !== 303 && !(status === 503 && retryAfterSeconds > 0))
    throw new WrongAnswer(`login: ${status} ${body.slice(0, 500)}`)
  return { status, milliseconds, retryAfterSeconds }
}

export const refresh: Scenario = {
  name: 'refresh',
  title: 'refresh with rotation, ID token',
  arms: ['engine-memory', 'engine-postgres', 'ours'],
  goals: [{ against: 'engine-memory', atLeast: 0.85 }],
  p99Compared: true,
  async prepare(target) {
    const families = await everyLane(target, async (connection, lane) => {
      const browser = new Browser(connection)
      const own: { shop: Shop; token: string }[] = []
      for (const shop of shops) {
        const { refresh_token: token = '' } = await wholeFlow(browser, shop, personNumber(lane))
        own.push({ shop, token })
      }
      return own
    })
    const nextTurn = turns()
    return async (connection, lane) => {
      const own = families[lane] ?? []
      const family = own[nextTurn(lane) % own.length]
      if (!family) throw new Error('no family')
      const answer = await connection.post(
        '/oauth/token',
        credentials[family.shop],
        `grant_type=refresh_token&refresh_token=${family.token}`,
      )
      const { refresh_token: next, id_token: idToken } = tokensOf(answer)
      if (!next || next === family.token || !idToken) throw new WrongAnswer(`refresh: ${answer.body}`)
      family.token = next
    }
  },
}

/** Counts the operations of each lane. */
function turns(): (lane: number) => number {
  const counts: number[] = []
  return (lane) => {
    const count = counts[lane] ?? 0
    counts[lane] = count + 1
    return count
  }
}

/** @returns for each lane the cookies with which its person is known at the authorization endpoint. */
async function signInAll(target: Target): Promise<string[]> {
  return (await everyLane(target, signIn)).map((browser) => browser.cookie('/oauth/authorize'))
}

async function signIn(connection: Connection, lane: number): Promise<Browser> {
  const browser = new Browser(connection)
  for (const shop of shops) await wholeFlow(browser, shop, personNumber(lane))
  return browser
}

/** A browser that is not signed in, but was: a stranger's costs a mail to the person besides. */
function browserOf(known: readonly Browser[], connection: Connection, lane: number): Browser {
  return known[lane]?.nextDay(connection) ?? new Browser(connection)
}

function everyLane<T>(target: Target, work: (connection: Connection, lane: number) => Promise<T>): Promise<T[]> {
  return target.withConnections((connections) => Promise.all(connections.map(work)))
}

/** From the authorization request to the tokens, through whatever pages lie between. */
async function wholeFlow(
  browser: Browser,
  shop: Shop,
  email: string,
  more: Record<string, string> = {},
): Promise<Tokens> {
  const { path, verifier } = authorizationRequest(shop, email, more)
  let location = locationOf(await browser.get(path))
  for (let step = 0; !location.startsWith(callback); step++) {
    if (step > 8) throw new WrongAnswer(`no way through: ${location}`)
    const page = await browser.get(location)
    location = page.status === 200 ? await fillIn(browser, location, formOf(page), email) : locationOf(page)
  }
  return redeem(browser.connection, shop, codeIn(location), verifier)
}

async function fillIn(browser: Browser, path: string, fields: URLSearchParams, email: string): Promise<string> {
  if (path.endsWith('/consent')) fields.set('decision', 'allow')
  else {
    fields.set('identifier', email)
    fields.set('password', password)
  }
  return locationOf(await browser.post(path, fields))
}

export function authorizationRequest(shop: Shop, email: string, more: Record<string, string> = {}) {
  const verifier = randomBytes(32).toString('base64url')
  const query = form({
    client_id: shop,
    redirect_uri: callback,
    response_type: 'code',
    scope,
    state: randomBytes(8).toString('base64url'),
    nonce: randomBytes(8).toString('base64url'),
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    login_hint: email,
    ...more,
  })
  return { path: `/oauth/authorize?${query}`, verifier }
}

function codeIn(location: string): string {
  const code = location.startsWith(callback) ? new URL(location).searchParams.get('code') : undefined
  if (!code) throw new WrongAnswer(`no code: ${location}`)
  return code
}

async function redeem(connection: Connection, shop: Shop, code: string, verifier: string): Promise<Tokens> {
  const answer = await connection.post(
    '/oauth/token',
    credentials[shop],
    form({ grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: callback }),
  )
  const tokens = tokensOf(answer)
  if (!tokens.id_token || !tokens.refresh_token) throw new WrongAnswer(`code flow: ${answer.body}`)
  return tokens
}
