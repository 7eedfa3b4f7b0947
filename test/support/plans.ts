// The plan of a statement, and what is wrong with it. The statements are caught on their way to the pool, so that what is examined is
// what the product sends.
import pg from 'pg'
import { readFeed } from '#src/tokens/feed.ts'
import * as statements from '#src/tokens/statements.ts'
import { lagStatement, originStatement, sweepStatement } from '#src/tokens/sweep.ts'
import { cookieHashOf, grantIdOf, opaqueId, sessionUidOf, userIdOf } from './ledger-rows.ts'

export type Statement = { name: string; text: string; values: unknown[] }
export type PlanNode = {
  'Node Type': string
  'Relation Name'?: string
  'Index Name'?: string
  'Plan Rows': number
  Plans?: PlanNode[]
} & Record<string, unknown>
export type Explained = { Plan: PlanNode; 'Execution Time'?: number; 'Planning Time'?: number }

/** Tables that stay small: one row for each client, API or set-up code, and the epoch; what people are doing with their accounts in
 *  these minutes. Reading them whole is what is right. */
const small = [
  'client',
  'api',
  'token_epoch',
  'setup_code',
  'configuration_version',
  'one_time_code',
  'out_of_band_message',
  'push_approval',
  'mail',
  'address_proof',
  'invitation',
]

/** @param number the first of twenty tokens (ledger-rows.ts) that exist. */
export async function hotStatements(number: number): Promise<Statement[]> {
  const caught: Statement[] = []
  let naming = ''
  const pool = {
    async query({ text, values = [] }: { text: string; values?: unknown[] }) {
      caught.push({ name: naming, text, values })
      return { rows: [] }
    },
  } as unknown as pg.Pool
  const as = async (name: string, ask: () => Promise<unknown>) => {
    naming = name
    await ask()
  }
  await as('token by id', () => statements.readToken(pool, opaqueId(number + 12)))
  await as('token by user code', () => statements.readTokenByUserCode(pool, opaqueId(number)))
  await as('grant by id', () => statements.readGrant(pool, grantIdOf(number)))
  await as('session by cookie', () => statements.readSession(pool, cookieHashOf(number)))
  await as('session by uid', () => statements.readSessionByUid(pool, sessionUidOf(number)))
  await as('person by id', () => statements.readPerson(pool, userIdOf(number)))
  await as('interaction by id', () => statements.readInteraction(pool, opaqueId(number)))
  await as('replay by id', () => statements.readReplay(pool, opaqueId(number)))
  await as('feed of revocations', () => readFeed({ pool }, undefined, 100))
  for (const [name, writesOf] of Object.entries(commits))
    await as(`commit: ${name}`, () => statements.commit(pool, [writesOf(number)]))
  const moment = new Date('2026-01-01')
  for (const table of [
    'token',
    'interaction',
    'replay',
    'oauth_grant',
    'session',
    'guess_limit',
    'decision_receipt',
    'remembered_device',
    'idempotent_request',
    'passkey_challenge',
    'api_key_value',
    'api_key',
    'revocation',
  ] as const)
    for (const beyond of [false, true])
      caught.push({
        name: `sweep: ${table}`,
        text: sweepStatement(table, beyond),
        values: ['-infinity', moment, 600, 500],
      })
  caught.push({
    name: 'sweep: origin',
    text: originStatement,
    values: [opaqueId(1), Buffer.alloc(33, 0xff), moment, 600, 500],
  })
  caught.push({ name: 'sweep lag', text: lagStatement, values: [] })
  return caught
}

const hex = (bytes: Buffer) => `\\x${bytes.toString('hex')}`
const generations = {
  grantGeneration: 0,
  sessionGeneration: 0,
  userGeneration: 0,
  clientGeneration: 0,
  apiGeneration: 0,
}
const tokenOf = (number: number): statements.TokenWrite => ({
  id: hex(opaqueId(number + 1e9)),
  kind: 2,
  clientId: 'client-1',
  userId: userIdOf(number),
  grantId: grantIdOf(number),
  sessionUid: sessionUidOf(number),
  resource: 'https://api.example.com/orders-1',
  scope: 'orders:read',
  userCodeHash: null,
  issuedAt: 1,
  expiresAt: Date.now() / 1000 + 3600,
  salt: hex(opaqueId(1)),
  predecessorId: hex(opaqueId(number + 15)),
  ...generations,
  payload: {},
})
const audit = [{ event: 'token.issued', outcome: 'success', detail: {} }]

/** What requests write, each for the twenty tokens that begin at a number. */
const commits: Record<string, (number: number) => statements.Writes> = {
  'service token': (n) => ({ token: [{ ...tokenOf(n), predecessorId: null, salt: null, grantId: null }], audit }),
  refresh: (n) => ({
    consume: [
      {
        id: hex(opaqueId(n + 15)),
        predecessorId: hex(opaqueId(n + 16)),
        successorId: hex(opaqueId(n + 1e9)),
        leeway: 30,
        address: null,
        userAgent: null,
        requestId: null,
      } as statements.ConsumeWrite,
    ],
    token: [tokenOf(n)],
    audit,
  }),
  'sign-in': (n) => ({
    grant: [
      {
        id: `new ${n}`,
        userId: userIdOf(n),
        clientId: 'client-1',
        sessionUid: sessionUidOf(n),
        scopes: [],
        rejectedScopes: [],
        resourceScopes: {},
        rejectedResourceScopes: {},
        expiresAt: 1,
        payload: {},
        originId: hex(opaqueId(n)),
      } as statements.GrantWrite,
    ],
    session: [
      {
        uid: sessionUidOf(n),
        cookieHash: hex(cookieHashOf(n)),
        userId: userIdOf(n),
        loginAt: 1,
        acr: null,
        amr: [],
        clients: {},
        userGeneration: 0,
        expiresAt: 1,
        payload: {},
        originId: hex(opaqueId(n)),
      } as statements.SessionWrite,
    ],
    interaction: [
      {
        id: hex(opaqueId(n)),
        clientId: null,
        userId: null,
        sessionUid: null,
        prompt: 'login',
        expiresAt: 1,
        payload: {},
      },
    ],
    consent: [{ userId: userIdOf(n), clientId: 'client-1', scopes: [], resourceScopes: {} }],
    origin: [{ id: hex(opaqueId(n)), address: null, userAgent: null }],
    interactionEnd: [{ id: hex(opaqueId(n + 1)), once: true }],
    replay: [{ id: hex(opaqueId(n)), expiresAt: 1, payload: {} }],
  }),
  'a step of a sign-in': (n) => ({
    progress: [{ id: hex(opaqueId(n)), version: 1, progress: { userId: userIdOf(n) }, done: false }],
    audit,
  }),
  logout: (n) => ({
    sessionEnd: [{ cookieHash: hex(cookieHashOf(n)) }],
    grantEnd: [{ id: grantIdOf(n), ends: true }],
    tokenEnd: [{ id: hex(opaqueId(n + 12)) }],
  }),
}

/** @param how `generic`: the plan that a prepared statement has after a while, made without looking at the values.
 *  `analyze` runs the statement, and undoes what it did. */
export async function explain(
  pool: pg.Pool,
  { text, values }: Statement,
  how: { generic?: boolean; analyze?: boolean } = {},
): Promise<Explained> {
  const client = await pool.connect()
  try {
    await client.query('BEGIN')
    await client.query(`SET LOCAL plan_cache_mode = force_${how.generic ? 'generic' : 'custom'}_plan`)
    await client.query(`PREPARE examined AS ${text}`)
    const literals = values.length > 0 ? `(${values.map(literal).join(', ')})` : ''
    const { rows } = await client.query<{ 'QUERY PLAN': [Explained] }>(
      `EXPLAIN (FORMAT JSON${how.analyze ? ', ANALYZE, BUFFERS' : ''}) EXECUTE examined${literals}`,
    )
    const explained = rows[0]?.['QUERY PLAN'][0]
    if (!explained) throw new Error('EXPLAIN said nothing')
    return explained
  } finally {
    client.release(true) // what it did is undone, what it prepared forgotten
  }
}

function literal(value: unknown): string {
  if (value === null || value === undefined) return 'NULL'
  if (typeof value === 'number') return String(value)
  return pg.escapeLiteral(plain(value))
}

function plain(value: unknown): string {
  if (Buffer.isBuffer(value)) return hex(value)
  if (value instanceof Date) return value.toISOString()
  if (Array.isArray(value)) return `{${value.map((entry) => JSON.stringify(plain(entry))).join(',')}}`
  return String(value)
}

export function nodesOf(plan: PlanNode): PlanNode[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodesOf)]
}

/** @returns the tables that grow and are read from one end to the other, or through the whole of an index. */
export function wholeTables({ Plan }: Explained): string[] {
  return nodesOf(Plan)
    .filter(
      (node) =>
        node['Node Type'] === 'Seq Scan' ||
        (/^(Bitmap )?Index/.test(node['Node Type']) &&
          node['Index Cond'] === undefined &&
          node['Order By'] === undefined),
    )
    .map((node) => node['Relation Name'] ?? String(node['Index Name']))
    .filter((table) => !small.some((name) => table === name || table.startsWith(`${name}_`)))
}

/** @returns the indexes a plan uses. */
export const indexesOf = ({ Plan }: Explained): string[] => [
  ...new Set(nodesOf(Plan).flatMap((node) => node['Index Name'] ?? [])),
]
