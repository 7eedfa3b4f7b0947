// R1: whatever may be used once is used once, also when many try at the same moment on two processes.
import { randomBytes, randomUUID } from 'node:crypto'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { hashSetupCode } from '#src/bootstrap/first-administrator.ts'
import { Person } from '#test/support/person.ts'
import { advanced, asking, beginFamily, openSeats, type Seats } from './families.ts'
import { clients, type Installation } from './installation.ts'
import { appCode, invitation, recoveryCode, reset, resetCode } from './one-winner-people.ts'
import { createFindings, type Findings, inParallel, type Report, times } from './report.ts'
import type { Answer } from './traffic.ts'

export type OneWinnerSize = {
  /** How many of each kind that programs hold. */
  each: number
  /** … that people type: every try is a pending request of its own. */
  typed: number
  /** … that cost a password hash for every try. */
  hashed: number
  /** Uses of one value at one process at the same moment. */
  parallel: number
}

export type Trial = (tools: Tools) => Promise<Answer[]>
type Tools = { installation: Installation; seats: Seats; findings: Findings; parallel: number }

const processes = 2
const env = { SIGN_UP: 'invitation' }
/** Values that are tried at the same time: neighbours must not disturb each other. */
const lanes = 6

export async function oneWinner(installation: Installation, size: OneWinnerSize): Promise<Report> {
  const servers = await Promise.all([installation.start(0, { env }), installation.start(1, { env })])
  const findings = createFindings()
  const seats = await openSeats(installation, lanes)
  const tools: Tools = { installation, seats, findings, parallel: size.parallel * processes }
  const proof = await proofs(installation)
  const kinds: [name: string, count: number, lanes: number, trial: Trial][] = [
    ['refresh tokens', size.each, lanes, lenientRefresh],
    ['refresh tokens, leeway 0', size.each, lanes, strictRefresh],
    ['authorization codes', size.each, lanes, code],
    ['pushed requests', size.each, lanes, pushedRequest],
    ['DPoP proofs', size.each, lanes, proof],
    ['codes of an app', size.typed, 1, appCode],
    ['recovery codes', size.typed, 1, recoveryCode],
    ['reset codes', size.typed, 1, resetCode],
    ['new passwords of a reset', size.hashed, 1, reset],
    ['invitations', size.hashed, 1, invitation],
    ['set-up codes', size.hashed, 1, setupCode],
  ]
  installation.traffic.tally()
  const figures: Report['figures'] = {}
  for (const [name, count, atOnce, trial] of kinds) {
    let uses = 0
    await inParallel(count, atOnce, async () => {
      const answers = await trial(tools)
      uses += answers.length
    })
    figures[name] = `${count}, ${uses} uses`
  }
  const tally = installation.traffic.tally()
  for (const [status, count] of Object.entries(tally))
    findings.expect(Number(status) < 500, `${count} answers had status ${status}`)
  for (const server of servers) await server.kill()
  return findings.report({ ...figures, answers: JSON.stringify(tally) })
}

/** RFC 9700 4.14.2 with docs/decisions/006: every success carries the same successor. */
const lenientRefresh: Trial = ({ installation, seats, findings, parallel }) =>
  seats.with(async (person) => {
    const { refresh, userinfo, revoke } = asking(installation)
    const family = await beginFamily(installation, person)
    const answers = await Promise.all(times(parallel, (n) => refresh(n, family)))
    const good = answers.filter(({ status }) => status === 200)
    // the first use and ten repeats
    findings.expect(good.length >= 1 && good.length <= 11, `a refresh token won ${good.length} times`)
    othersAre('invalid_grant', answers, findings)
    const successors = new Set(good.map(({ body }) => body.refresh_token))
    findings.expect(successors.size === 1, `one refresh token had ${successors.size} successors`)
    for (const answer of good.slice(0, 2))
      findings.expect(
        (await userinfo(0, String(answer.body.access_token))).status === 200,
        'an access token that was answered does not work',
      )
    if (!good[0]) return answers
    const next = await refresh(1, advanced(family, good[0]))
    findings.expect(next.status === 200, `the successor was refused: ${next.status} ${next.body.error}`)
    await revoke(0, family.clientId, String(next.body.refresh_token))
    return answers
  })

/** Without a leeway the second use means theft: one wins, and loses it again. */
const strictRefresh: Trial = ({ installation, seats, findings, parallel }) =>
  seats.with(async (person) => {
    const { refresh } = asking(installation)
    const family = await beginFamily(installation, person, { clientId: clients.strict })
    const answers = await Promise.all(times(parallel, (n) => refresh(n, family)))
    await oneWinnerWhoseFamilyDied('a refresh token without leeway', installation, clients.strict, answers, findings)
    return answers
  })

/** RFC 6749 4.1.2: a code used more than once is denied, and what it produced is revoked. */
const code: Trial = ({ installation, seats, findings, parallel }) =>
  seats.with(async (person) => {
    const { redeem } = asking(installation)
    const { code: value, verifier } = await installation.journey.codeFor({}, person)
    const answers = await Promise.all(times(parallel, (n) => redeem(n, clients.lenient, value, verifier)))
    await oneWinnerWhoseFamilyDied('a code', installation, clients.lenient, answers, findings)
    return answers
  })

/** RFC 9126 4: a request_uri is used once. */
const pushedRequest: Trial = ({ installation: { journey, traffic }, seats, findings, parallel }) =>
  seats.with(async (person) => {
    const { address } = await journey.begin()
    const pushed = await journey.post('/oauth/par', [...new URLSearchParams(address.split('?')[1])])
    const query = new URLSearchParams({ client_id: clients.lenient, request_uri: String(pushed.body.request_uri) })
    const headers = { Cookie: cookiesOf(person), Accept: 'text/html' }
    const answers = await Promise.all(
      times(parallel, (n) => traffic.send(n, { path: `/oauth/authorize?${query}`, headers })),
    )
    const codes = answers.filter(({ headers }) => /[?&]code=/.test(headers.location ?? '')).length
    findings.expect(codes === 1, `a pushed request gave ${codes} codes`)
    return answers
  })

/** RFC 9449 11.1: a proof is good once. */
async function proofs({ journey }: Installation): Promise<Trial> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const sign = (key: CryptoKey, jwk: JWK) =>
    new SignJWT({ htm: 'POST', htu: `${journey.server.url}/oauth/token`, jti: randomUUID() })
      .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk })
      .setIssuedAt()
      .sign(key)
  const jwk = await exportJWK(publicKey)
  return async ({ installation: { traffic }, findings, parallel }) => {
    const message = {
      path: '/oauth/token',
      form: { grant_type: 'client_credentials', scope: 'stock:read' },
      headers: { Authorization: journey.basic('reports'), DPoP: await sign(privateKey, jwk) },
    }
    const answers = await Promise.all(times(parallel, (n) => traffic.send(n, message)))
    const won = answers.filter(({ status }) => status === 200).length
    findings.expect(won === 1, `a DPoP proof won ${won} times`)
    for (const { status, body } of answers)
      findings.expect(status === 200 || status === 400, `a used proof was answered ${status} ${body.error}`)
    return answers
  }
}

/** The code that makes the first administrator (ASVS 6.3.2). Each trial begins without one. */
const setupCode: Trial = async ({ installation: { journey, database, traffic }, findings, parallel }) => {
  await database.prisma.userRole.deleteMany({ where: { roleName: 'owner' } })
  await database.prisma.guessLimit.deleteMany() // those who lose have guessed wrong, and an address may do so a hundred times
  const value = randomBytes(32).toString('base64url')
  const expiresAt = new Date(Date.now() + 3600_000)
  await database.prisma.setupCode.create({ data: { id: hashSetupCode(value), createdAt: new Date(), expiresAt } })
  const person = new Person(journey.server.url)
  const page = await person.open('/admin/setup')
  const csrf = /name="csrf"[^>]*value="([^"]*)"/.exec(page.text)?.[1] ?? ''
  const headers = { Cookie: cookiesOf(person), Origin: journey.server.url, Accept: 'text/html' }
  const email = (n: number) => `owner-${n}-${randomUUID()}@example.com`
  const answers = await Promise.all(
    times(parallel, (n) =>
      traffic.send(n, {
        path: '/admin/setup',
        headers,
        form: { csrf, code: value, email: email(n), name: 'First', password: `a long enough phrase ${value}` },
      }),
    ),
  )
  const won = answers.filter(({ status }) => status === 200).length
  const owners = await database.prisma.userRole.count({ where: { roleName: 'owner' } })
  findings.expect(won === 1 && owners === 1, `a set-up code won ${won} times and made ${owners} administrators`)
  // 403: used; 404: there is an administrator by now
  for (const { status } of answers)
    findings.expect([200, 403, 404].includes(status), `a used set-up code was answered ${status}`)
  return answers
}

async function oneWinnerWhoseFamilyDied(
  what: string,
  installation: Installation,
  clientId: string,
  answers: Answer[],
  findings: Findings,
): Promise<void> {
  const { refresh, userinfo } = asking(installation)
  const [winner, ...more] = answers.filter(({ status }) => status === 200)
  findings.expect(winner !== undefined && more.length === 0, `${what} won ${more.length + (winner ? 1 : 0)} times`)
  othersAre('invalid_grant', answers, findings)
  if (!winner) return
  const after = await refresh(1, { clientId, refresh: String(winner.body.refresh_token) })
  findings.expect(after.body.error === 'invalid_grant', `the family of ${what} used twice still refreshes`)
  const seen = await userinfo(0, String(winner.body.access_token))
  findings.expect(seen.status === 401, `an access token of ${what} used twice still works: ${seen.status}`)
}

function othersAre(error: string, answers: Answer[], findings: Findings): void {
  for (const { status, body } of answers)
    if (status !== 200)
      findings.expect(
        status === 400 && body.error === error,
        `expected 400 ${error}, got ${status} ${body.error} ${body.error_description}`,
      )
}

function cookiesOf(person: Person): string {
  return [...person.cookies]
    .filter(([, { path }]) => path === '/' || path.startsWith('/admin'))
    .map(([key, { value }]) => `${key.split(' ')[0]}=${value}`)
    .join('; ')
}
