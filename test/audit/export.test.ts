// An export proves itself: by our own command, and by the program that docs/audit.md gives to strangers.
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { canonical } from '#src/audit/chain.ts'
import { signCheckpoint } from '#src/audit/checkpoints.ts'
import { csvLine } from '#src/audit/csv.ts'
import { findStretch, StretchGone, writeExport } from '#src/audit/export.ts'
import { verifyExport } from '#src/audit/export-file.ts'
import { removeOldEvents } from '#src/audit/retention.ts'
import { sealAll } from '#src/audit/seal.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { ensureSigningKeys } from '#src/keys/signing-keys.ts'
import { createStatementSigner, statementKeys } from '#src/keys/statement-signer.ts'
import { clearAudit, tamper } from '#test/support/audit.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const secretKeys = createSecretKeys([randomBytes(32)])
const folder = mkdtempSync(join(tmpdir(), 'sallyport-audit-'))
const now = new Date()
let own: TestDatabase
let chain: Parameters<typeof findStretch>[0]
let keys: Awaited<ReturnType<typeof statementKeys>>
beforeAll(async () => {
  own = await createTestDatabase()
  await ensureSigningKeys(own.database, secretKeys, now)
  await clearAudit(own.database)
  chain = {
    database: own.database,
    sign: createStatementSigner(own.database, secretKeys),
    issuer: 'https://id.example.com',
  }
  keys = await statementKeys(own.database, secretKeys)
  // Four days of 400 rows, with what is hard to write, and checkpoints in between.
  for (let day = 1; day <= 4; day++) {
    await own.database.pool.query(
      `INSERT INTO audit_event (event, outcome, actor_kind, actor_id, user_agent, at, detail)
        SELECT 'login.failed', 'failure', 'user', n::text, E'é "\\\\ \\u2028\\u007f \\t\\U0001F600 ' || n, $1::timestamptz + n * interval '1 minute',
          jsonb_build_object('n', n, 'b', true, 'a', ARRAY['ü', 'x'], 'c', null) FROM generate_series(1, 400) n`,
      [`2026-11-0${day}T00:00:00Z`],
    )
    await sealAll(own.database)
    await signCheckpoint(chain, now)
  }
})
afterAll(async () => {
  rmSync(folder, { recursive: true })
  await own.drop()
})

async function exported(from?: string, to?: string, format: 'jsonl' | 'csv' = 'jsonl'): Promise<string> {
  const stretch = await findStretch(
    chain,
    { from: from ? new Date(from) : undefined, to: to ? new Date(to) : undefined },
    now,
  )
  if (!stretch) return ''
  return text(writeExport(chain, stretch, { format, now }))
}

async function text(pieces: AsyncIterable<string>): Promise<string> {
  let all = ''
  for await (const piece of pieces) all += piece
  return all
}

const linesOf = (file: string) => file.trimEnd().split('\n')
const verify = (lines: readonly string[], with_: readonly object[] | undefined = keys) =>
  verifyExport(Readable.from(lines), { keys: with_ as typeof keys })

/** As a stranger does it, with what the page says and nothing of ours. */
function byThePage(lines: readonly string[]): { status: number | null; said: string } {
  const page = readFileSync(join(import.meta.dirname, '../../docs/audit.md'), 'utf8')
  const program = /```python\n([\s\S]*?)```/.exec(page)?.[1] ?? ''
  const [verifier, file, jwks] = ['verify.py', 'export.jsonl', 'jwks.json'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  writeFileSync(verifier, program)
  writeFileSync(file, `${lines.join('\n')}\n`)
  writeFileSync(jwks, JSON.stringify({ keys }))
  const { status, stdout, stderr } = spawnSync('python3', [verifier, file, jwks], { encoding: 'utf8' })
  return { status, said: `${stdout}${stderr}`.trim() }
}
const hasPython = spawnSync('python3', ['--version']).status === 0

test('RFC 8785: names in the order of UTF-16, no white space, strings and numbers as ECMAScript writes them', () => {
  // The examples of RFC 8785 3.2.2 and 3.2.3.
  expect(
    canonical({
      numbers: [333333333.3333333, 1e30, 4.5, 2e-3, 0.000000000000000000000000001],
      string: '\u20ac$\u000F\u000aA\'\u0042\u0022\u005c\\"/',
      literals: [null, true, false],
    }),
  ).toBe(
    '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
  )
  expect(canonical({ '\u20ac': 1, '\r': 2, '\ufb33': 3, '1': 4, '\u{1f600}': 5, '\u0080': 6, '\u00f6': 7 })).toBe(
    '{"\\r":2,"1":4,"\u0080":6,"ö":7,"€":1,"😀":5,"\ufb33":3}',
  )
})

describe('an export of everything', () => {
  test('holds, by our own verifier and by the one of the page', async () => {
    const lines = linesOf(await exported())
    expect(lines.filter((line) => line.startsWith('{"position"'))).toHaveLength(1_600)
    expect(lines.filter((line) => line.startsWith('{"checkpoint"'))).toHaveLength(4)
    expect(await verify(lines)).toMatchObject({
      ...{ ok: true, rows: 1_600, from: 1, to: 1_600, signedTo: 1_600, checkpoints: 4, unknownKeys: 0, findings: [] },
      ...{ issuer: 'https://id.example.com', signedBy: 'given' },
    })
    if (hasPython)
      expect(byThePage(lines)).toEqual({ status: 0, said: 'https://id.example.com: 1600 rows hold, to place 1600' })
  })

  test('without keys the one in the file is believed, and it is said', async () => {
    const result = await verifyExport(Readable.from(linesOf(await exported())), {})
    expect(result).toMatchObject({ ok: true, signedBy: 'file', kid: keys.find(({ alg }) => alg === 'ES256')?.kid })
    expect(await verify(linesOf(await exported()), [])).toMatchObject({
      ok: false,
      signedBy: 'none',
      findings: [{ problem: 'unsigned' }],
    })
  })

  const at = (lines: string[], position: number) =>
    lines.findIndex((line) => line.startsWith(`{"position":${position},`))
  test.each<[string, (lines: string[]) => void, string]>([
    [
      'a changed field',
      (lines) => lines.splice(at(lines, 700), 1, lines[at(lines, 700)]?.replace('"failure"', '"success"') ?? ''),
      'link_broken 700',
    ],
    ['a row less', (lines) => lines.splice(at(lines, 700), 1), 'place_missing 701'],
    [
      'two rows in each other’s place',
      (lines) => lines.splice(at(lines, 700), 2, ...lines.slice(at(lines, 700), at(lines, 700) + 2).reverse()),
      'place_missing 701',
    ],
    ['a row twice', (lines) => lines.splice(at(lines, 700), 0, lines[at(lines, 700)] ?? ''), 'place_missing 700'],
    [
      'another hash',
      (lines) =>
        lines.splice(at(lines, 700), 1, lines[at(lines, 700)]?.replace(/"hash":"...../, '"hash":"00000') ?? ''),
      'link_broken 700',
    ],
    ['the last row less', (lines) => lines.splice(at(lines, 1_600), 1), 'checkpoint_contradicted 1600'],
    ['no end', (lines) => lines.splice(lines.length - 1, 1), 'cut_off 1600'],
    ['the first row less', (lines) => lines.splice(1, 1), 'place_missing 2'],
    [
      'another beginning',
      (lines) => lines.splice(0, 1, lines[0]?.replace('"hash":"00', '"hash":"11') ?? ''),
      'link_broken 1',
    ],
  ])('%s is found, and where', async (_what, spoil, finding) => {
    const lines = linesOf(await exported())
    spoil(lines)
    const { ok, findings } = await verify(lines)
    expect(ok).toBe(false)
    expect(findings.map(({ problem, position }) => `${problem} ${position}`)[0]).toBe(finding)
    if (hasPython) expect(byThePage(lines).status).not.toBe(0)
  })

  test('a forger with a key of their own needs one that the issuer publishes', async () => {
    const theirs = createSecretKeys([randomBytes(32)])
    const elsewhere = await createTestDatabase()
    await ensureSigningKeys(elsewhere.database, theirs, now)
    const forged = await text(
      writeExport(
        { ...chain, sign: createStatementSigner(elsewhere.database, theirs) },
        (await findStretch(chain, {}, now)) ?? expect.fail('nothing to export'),
        { format: 'jsonl', now },
      ),
    )
    await elsewhere.drop()
    expect(await verifyExport(Readable.from(linesOf(forged)), {})).toMatchObject({ signedBy: 'file' })
    expect(await verify(linesOf(forged))).toMatchObject({ ok: false, findings: [{ problem: 'unsigned' }] })
  })
})

test('a period is a stretch from its first row to the first checkpoint after its last', async () => {
  const lines = linesOf(await exported('2026-11-02', '2026-11-02T03:00:00Z'))
  expect(await verify(lines)).toMatchObject({ ok: true, from: 401, to: 800, rows: 400, signedTo: 800 })
  if (hasPython) expect(byThePage(lines).status).toBe(0)
  expect(await exported('2027-01-01')).toBe('')
  expect(await exported(undefined, '2020-01-01')).toBe('')
  expect(await verify(linesOf(await exported('2026-11-04T06:40:00Z')))).toMatchObject({
    ok: true,
    from: 1_600,
    to: 1_600,
  })
})

test('pieces are read when they are asked for: nothing runs ahead of a slow reader', async () => {
  const stretch = await findStretch(chain, {}, now)
  let asked = 0
  const counting = new Proxy(own.database.pool, {
    get(pool, name) {
      if (name === 'query') asked++
      const value = Reflect.get(pool, name)
      return typeof value === 'function' ? value.bind(pool) : value
    },
  })
  const pieces = writeExport({ ...chain, database: { pool: counting } }, stretch ?? expect.fail('nothing to export'), {
    format: 'jsonl',
    now,
  })
  await pieces.next()
  expect(asked).toBe(0)
  await pieces.next()
  expect(asked).toBe(1)
  await pieces.return(undefined)
})

test('CSV: a cell that a spreadsheet would compute is text, and what has commas, quotes or line breaks is quoted', async () => {
  const row = {
    ...{
      id: '1',
      at: now,
      event: 'login.failed',
      outcome: 'failure',
      actorKind: null,
      actorId: null,
      targetKind: null,
      targetId: null,
    },
    ...{ clientId: null, address: null, userAgent: null, requestId: null, decisionId: null, detail: {} },
  }
  const cell = (userAgent: string) =>
    csvLine(7, 'ab', { ...row, userAgent })
      .split(',')
      .slice(12, -3)
      .join(',')
  expect(cell('=1+1')).toBe(`'=1+1`)
  expect(cell('+1')).toBe(`'+1`)
  expect(cell('-1')).toBe(`'-1`)
  expect(cell('@SUM(A1)')).toBe(`'@SUM(A1)`)
  expect(cell(' =1')).toBe(`' =1`)
  expect(cell('\t=1')).toBe(`'\t=1`)
  expect(cell('＝1')).toBe(`'＝1`)
  expect(cell('=HYPERLINK("http://x","y")')).toBe(`"'=HYPERLINK(""http://x"",""y"")"`)
  expect(cell('a\r\n=1')).toBe('"a\r\n=1"')
  expect(cell('Mozilla/5.0 (X11, "x")')).toBe('"Mozilla/5.0 (X11, ""x"")"')
  const file = await exported('2026-11-01', '2026-11-02', 'csv')
  const [head, first] = file.split('\r\n')
  expect(head).toMatch(/^position,hash,id,at,event,outcome,actorKind,/)
  expect(first).toMatch(/^1,[0-9a-f]{64},\d+,2026-11-01T00:01:00.000Z,login.failed,failure,user,1,,,,,/)
  expect(file.split('\r\n')).toHaveLength(402)
})

test('a broken chain is handed out, since it is evidence, and not signed for', async () => {
  const { rows } = await own.database.pool.query(`SELECT event_id AS id FROM audit_seal WHERE position = 500`)
  await tamper(own.database, `UPDATE audit_event SET outcome = 'success' WHERE id = ${rows[0].id}`)
  const lines = linesOf(await exported())
  expect(JSON.parse(lines.at(-1) ?? '')).toEqual({ end: { unsigned: true, broken: 500 } })
  expect((await verify(lines)).findings.map(({ problem, position }) => `${problem} ${position}`)).toEqual([
    'link_broken 500',
    'unsigned null',
  ])
  await tamper(own.database, `UPDATE audit_event SET outcome = 'failure' WHERE id = ${rows[0].id}`)
})

test('retention that comes in between ends an export without its last line', async () => {
  const stretch = (await findStretch(chain, {}, now)) ?? expect.fail('nothing to export')
  const pieces = writeExport(chain, stretch, { format: 'jsonl', now })
  await pieces.next()
  await removeOldEvents(chain, { before: new Date('2026-11-02'), keepUnstreamed: false, now })
  await expect(text(pieces)).rejects.toThrow(StretchGone)
  // And the next begins where the record now does.
  const lines = linesOf(await exported())
  expect(await verify(lines)).toMatchObject({ ok: true, from: 401 })
  if (hasPython) expect(byThePage(lines).status).toBe(0)
})
