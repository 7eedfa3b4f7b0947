// A review as a file: lines of JSON, written as they are read. Its SHA-256 goes into the audit record before the last line is written, so whoever has
// the file and an export of the record can prove that the file is what was handed out, when, and that its snapshot is the one that was taken.
import { createHash } from 'node:crypto'
import type { Change } from '#src/audit/change.ts'
import type { Database } from '#src/db/database.ts'
import {
  describeLine,
  describeReview,
  findReview,
  listLines,
  namesOfLines,
  recordReview,
  snapshotText,
} from './reviews.ts'

/** Lines are not what the digest of the snapshot says: somebody changed them past this program. */
export class SnapshotContradicted extends Error {
  override name = 'SnapshotContradicted'
  constructor(id: string) {
    super(`The lines of the access review ${id} are not those that were taken.`)
  }
}

const pageSize = 500

/** The text in pieces. What ends without its last line is no export. @throws ReviewNotFound at the first piece, SnapshotContradicted */
export async function* writeReview(
  database: Database,
  id: string,
  issuer: string,
  change: Change,
): AsyncGenerator<string> {
  const { prisma } = database
  const review = describeReview(await findReview(prisma, id))
  const file = createHash('sha256')
  const snapshot = createHash('sha256')
  const hashed = (text: string): string => {
    file.update(text)
    return text
  }
  yield hashed(line({ accessReview: { version: 1, issuer, at: change.now, ...review } }))
  let lines = 0
  for (let after = 0; ; ) {
    const page = await listLines(prisma, id, {}, { after, limit: pageSize })
    const last = page.at(-1)
    if (!last) break
    const names = await namesOfLines(database, page)
    let text = ''
    for (const record of page) {
      snapshot.update(snapshotText(record.number, record))
      text += line(describeLine(record, names))
    }
    yield hashed(text)
    lines += page.length
    after = last.number
  }
  // It is evidence, so it was handed out; it is not vouched for.
  if (snapshot.digest('hex') !== review.digest) throw new SnapshotContradicted(id)
  const digest = file.digest('hex')
  await recordReview(prisma, 'access_review.exported', id, { lines, digest, snapshot: review.digest }, change)
  yield line({ end: { lines, digest } })
}

const line = (value: object): string => `${JSON.stringify(value)}\n`
