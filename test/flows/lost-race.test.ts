// A request that finds at its commit that somebody else was faster: what it revokes is on record, whatever else it had to write.
import { randomUUID } from 'node:crypto'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { groupCommitOf } from '#src/tokens/group-commit.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
let other: pg.Client
beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  other = new pg.Client({ connectionString: server.databaseUrl })
  await other.connect()
})
afterAll(async () => {
  await other.end()
  await server.stop()
})

const recorded = async (event: string) =>
  (await server.database.pool.query('SELECT 1 FROM audit_event WHERE event = $1', [event])).rowCount

test('a code that two redeem at once, each with a proof of its key: the second use and the end of the grant are recorded', async () => {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const jwk = await exportJWK(publicKey)
  const proof = () =>
    new SignJWT({ htm: 'POST', htu: `${server.url}/oauth/token`, jti: randomUUID() })
      .setIssuedAt()
      .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk })
      .sign(privateKey)
  const { code, verifier } = await j.codeFor()
  const proofs = [await proof(), await proof()]
  // Both have read the code before one of them commits.
  await other.query('BEGIN')
  await other.query('LOCK TABLE token IN EXCLUSIVE MODE')
  const answers = proofs.map((DPoP) => j.redeem(code, verifier, {}, { headers: { DPoP } }))
  await expect.poll(() => groupCommitOf(server.database.pool).waiting(), { timeout: 5_000 }).toBe(1)
  await other.query('COMMIT')
  expect((await Promise.all(answers)).map(({ status }) => status).sort()).toEqual([200, 400])
  expect(await recorded('code.reuse_detected')).toBe(1)
  expect(await recorded('grant.revoked')).toBe(1)
})
