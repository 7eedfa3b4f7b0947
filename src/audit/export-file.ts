// Proving an export with nothing but the file and the published keys. docs/audit.md says the same in words, and in twenty lines of Python.
import type { JWK } from 'jose'
import { linkHash, type Place } from './chain.ts'
import { checkpointType, checkStatement, exportType, isPlace } from './statements.ts'
import { createFindings, type Findings, type Verification } from './verify.ts'

export type FileVerification = Verification & {
  issuer: string | null
  /** given: keys that were given say so. file: only the key in the file itself does, which anybody could have put there. none: nobody. */
  signedBy: 'given' | 'file' | 'none'
  /** Of the key that signed the export. */
  kid: string | null
}

type Line = {
  export?: unknown
  position?: unknown
  hash?: unknown
  event?: unknown
  checkpoint?: unknown
  end?: unknown
}

/** @param lines of a JSON Lines export, or of what a syslog receiver wrote, message by message.
 *  @param options.keys what the issuer publishes at /oauth/jwks; undefined takes the key in the file at its word. */
export async function verifyExport(
  lines: AsyncIterable<string>,
  options: { keys?: readonly JWK[] | undefined; progress?: (lines: number) => void },
): Promise<FileVerification> {
  const findings = createFindings()
  const given = options.keys
  let issuer: string | null = null
  let previous: Place | undefined
  let from = 0
  let rows = 0
  let number = 0
  let end: Record<string, unknown> | undefined
  const checkpoints: { statement: string; line: number; hash: string }[] = []

  for await (const text of lines) {
    number += 1
    if (number % 10_000 === 0) options.progress?.(number)
    if (text.trim() === '') continue
    const line = parse(text)
    if (!line) findings.add('unreadable', null, `Line ${number} is not a line of an export.`)
    else if (end) findings.add('unreadable', null, `Line ${number} stands behind the end.`)
    else if (line.export !== undefined) {
      const head = line.export as { issuer?: unknown; start?: unknown; version?: unknown }
      if (head.version !== 1 || !isPlace(head.start) || rows > 0)
        findings.add('unreadable', null, `Line ${number} is not the head of an export that this version knows.`)
      else {
        issuer = String(head.issuer)
        previous = head.start
        from = head.start.position + 1
      }
    } else if (line.checkpoint !== undefined)
      checkpoints.push({ statement: String(line.checkpoint), line: number, hash: previous?.hash ?? '' })
    else if (line.end !== undefined) end = line.end as Record<string, unknown>
    else previous = takeRow(line, previous, number, findings, () => rows++)
  }
  if (rows > 0 && from === 0) from = (previous?.position ?? 0) - rows + 1
  const key = end?.key as JWK | undefined
  const keys = given ?? (key ? [key] : [])
  let unknownKeys = 0
  let signedTo = from - 1
  for (const { statement, line, hash } of checkpoints) {
    const checked = await checkStatement(statement, checkpointType, keys)
    if (!checked || checked.signature === 'bad')
      findings.add('signature_bad', null, `The checkpoint in line ${line} is not signed by the issuer.`)
    else if (checked.payload.hash !== hash)
      findings.add(
        'checkpoint_contradicted',
        checked.payload.position,
        `What was signed for place ${checked.payload.position} is not what stands there (line ${line}).`,
      )
    else if (checked.signature === 'unknown_key') unknownKeys += 1
    else signedTo = Math.max(signedTo, checked.payload.position)
  }
  const kid = await judgeEnd()
  return {
    ok: findings.told.length === 0,
    rows,
    from,
    to: previous?.position ?? 0,
    signedTo,
    checkpoints: checkpoints.length,
    unknownKeys,
    findings: findings.told,
    more: findings.more(),
    issuer,
    signedBy: kid === null ? 'none' : given ? 'given' : 'file',
    kid,
  }

  /** @returns the key that vouches for the whole. */
  async function judgeEnd(): Promise<string | null> {
    if (!end) {
      findings.add('cut_off', previous?.position ?? null, 'The export has no last line: its end is missing.')
      return null
    }
    if (typeof end.statement !== 'string') {
      findings.add('unsigned', null, 'The server did not sign this export: it found its own chain broken.')
      return null
    }
    const checked = await checkStatement(end.statement, exportType, keys)
    const kid = kidOf(end.statement)
    if (!checked || checked.signature === 'bad') {
      findings.add('signature_bad', null, 'The signature at the end does not hold.')
      return null
    }
    if (checked.signature === 'unknown_key') {
      findings.add(
        'unsigned',
        null,
        `The end is signed with the key ${kid}, which is not among the keys that were given.`,
      )
      return null
    }
    const { payload } = checked
    if (payload.iss !== issuer)
      findings.add('signature_bad', null, `The signature is of ${payload.iss}, not of ${issuer}.`)
    if (payload.start.position !== from - 1 || payload.position !== previous?.position || payload.rows !== rows)
      findings.add(
        'cut_off',
        previous?.position ?? null,
        `Signed are ${payload.rows} rows, from place ${payload.start.position + 1} to ${payload.position}; here are ${rows}, from ${from} to ${previous?.position ?? from - 1}.`,
      )
    else if (payload.hash !== previous.hash)
      findings.add('checkpoint_contradicted', payload.position, 'The last hash is not the one that was signed.')
    else signedTo = payload.position
    return kid
  }
}

function takeRow(
  { position, hash, event }: Line,
  previous: Place | undefined,
  number: number,
  findings: Findings,
  count: () => void,
): Place | undefined {
  const place = { position, hash }
  if (!isPlace(place) || typeof event !== 'object' || event === null) {
    findings.add('unreadable', null, `Line ${number} is not a row.`)
    return previous
  }
  count()
  const { id, event: name } = event as { id?: unknown; event?: unknown }
  const eventId = typeof id === 'string' ? id : null
  if (previous && place.position !== previous.position + 1)
    findings.add(
      'place_missing',
      place.position,
      `Line ${number} has place ${place.position} where ${previous.position + 1} should follow: rows are missing, or stand in another order.`,
      eventId,
    )
  else if (previous && linkHash(previous.hash, place.position, event) !== place.hash)
    findings.add(
      'link_broken',
      place.position,
      `The chain breaks at place ${place.position} (line ${number}, event ${eventId}, ${String(name)}): the row, or the hash before it, was changed.`,
      eventId,
    )
  return place
}

function parse(text: string): Line | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function kidOf(statement: string): string | null {
  const header = parse(Buffer.from(statement.split('.')[0] ?? '', 'base64url').toString()) as
    | { kid?: unknown }
    | undefined
  return typeof header?.kid === 'string' ? header.kid : null
}
