// In which order a request's commit locks what it writes, and that whoever revokes keeps to it: two that took a session and its grants
// in opposite orders would end each other.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createClient } from '#src/clients/clients.ts'
import { revoke } from '#src/tokens/revoke.ts'
import { commit, type Writes } from '#src/tokens/statements.ts'
import { createUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, hasPostgres15, type TestDatabase } from '#test/support/database.ts'
import { waitingForLocks } from '#test/support/locks.ts'

const change = changeAt()
const hex = (bytes = 32) => `\\x${randomBytes(bytes).toString('hex')}`
const servers = hasPostgres15() ? (['embedded', 15] as const) : (['embedded'] as const)

describe.each(servers)('on PostgreSQL %s', (server) => {
  let own: TestDatabase
  let userId: string
  beforeAll(async () => {
    own = await createTestDatabase({ server })
    userId = (await createUser(own.database.prisma, { email: 'alice@example.com' }, change)).id
    await createClient(own.database.prisma, { id: 'shop', name: 'Shop', type: 'service' }, [], change)
  })
  afterAll(() => own.drop())

  /** A session with a grant and a token, as rows that are there and as what writes them once more. */
  async function signedIn() {
    const uid = randomBytes(8).toString('hex')
    const common = { clientId: 'shop', userId, sessionUid: uid, expiresAt: null, payload: {} }
    const scopes = { scopes: ['openid'], rejectedScopes: [], resourceScopes: {}, rejectedResourceScopes: {} }
    const session = {
      ...common,
      uid,
      cookieHash: hex(),
      loginAt: 1,
      acr: null,
      amr: [],
      clients: {},
      userGeneration: 0,
    }
    const generations = {
      grantGeneration: null,
      sessionGeneration: null,
      userGeneration: null,
      clientGeneration: null,
      apiGeneration: null,
    }
    const blank = { resource: null, scope: null, userCodeHash: null, salt: null, predecessorId: null }
    const token = { ...common, ...blank, ...generations, id: hex(), kind: 1, grantId: uid, issuedAt: 1 }
    const writes: Writes = {
      consent: [{ userId, clientId: 'shop', scopes: ['openid'], resourceScopes: {} }],
      interaction: [{ ...common, id: hex(16), prompt: 'consent' }],
      session: [session],
      grant: [{ ...common, ...scopes, id: uid }],
      token: [token],
    }
    await commit(own.database.pool, [writes])
    return { uid, writes, tokenId: Buffer.from(token.id.slice(2), 'hex'), cookieHash: session.cookieHash }
  }

  /** @returns which of the rows `run` holds when it comes to the one that somebody keeps. */
  async function heldWhileWaiting(
    rows: Record<string, [text: string, value: unknown]>,
    kept: string,
    run: () => Promise<unknown>,
  ): Promise<string[]> {
    const other = new pg.Client({ connectionString: own.url })
    other.on('error', () => undefined)
    await other.connect()
    const lock = (name: string) => other.query(`${rows[name]?.[0]} FOR UPDATE NOWAIT`, [rows[name]?.[1]])
    try {
      await other.query('BEGIN')
      await lock(kept)
      const running = run()
      await expect.poll(() => waitingForLocks(own.database)).toBe(1)
      const held: string[] = []
      for (const name of Object.keys(rows).filter((name) => name !== kept)) {
        await other.query('SAVEPOINT asked')
        await lock(name).catch(() => held.push(name))
        await other.query('ROLLBACK TO SAVEPOINT asked')
      }
      await other.query('ROLLBACK')
      await running
      return held
    } finally {
      await other.end()
    }
  }

  const rowsOf = ({ uid, tokenId }: { uid: string; tokenId: Buffer }) =>
    ({
      consent: ['SELECT FROM consent WHERE user_id = $1', userId],
      session: ['SELECT FROM session WHERE uid = $1', uid],
      grant: ['SELECT FROM oauth_grant WHERE id = $1', uid],
      token: ['SELECT FROM token WHERE id = $1', tokenId],
    }) satisfies Record<string, [string, unknown]>

  test('a commit takes consent, session, grant and token one after the other', async () => {
    const one = await signedIn()
    const held = (kept: string) => heldWhileWaiting(rowsOf(one), kept, () => commit(own.database.pool, [one.writes]))
    expect(await held('consent')).toEqual([])
    expect(await held('session')).toEqual(['consent'])
    expect(await held('grant')).toEqual(['consent', 'session'])
    expect(await held('token')).toEqual(['consent', 'session', 'grant'])
  })

  test('a logout takes the session before its grants', async () => {
    const one = await signedIn()
    const logout = { sessionEnd: [{ cookieHash: one.cookieHash }], grantEnd: [{ id: one.uid, ends: true }] }
    expect(await heldWhileWaiting(rowsOf(one), 'grant', () => commit(own.database.pool, [logout]))).toEqual(['session'])
  })

  test('so does whoever ends a session, and who withdraws a consent takes it before its grants', async () => {
    const { prisma } = own.database
    const one = await signedIn()
    const session = { kind: 'session', uid: one.uid } as const
    expect(await heldWhileWaiting(rowsOf(one), 'grant', () => revoke(prisma, session, change))).toEqual(['session'])
    const two = await signedIn()
    const consent = { kind: 'consent', userId, clientId: 'shop' } as const
    expect(await heldWhileWaiting(rowsOf(two), 'grant', () => revoke(prisma, consent, change))).toEqual(['consent'])
  })
})
