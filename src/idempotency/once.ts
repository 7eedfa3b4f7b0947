// What a caller asks for with an Idempotency-Key is done once, however often the request arrives (the Idempotency-Key header field, IETF
// HTTPAPI). The row that says so, what was done and the answer are one transaction: after a crash there is all of it or nothing, and a
// refusal leaves nothing, so that a corrected request may use the same key.
//
// Order of events: insert the row (of two at once the second waits here for the first) -> do it -> keep the sealed answer -> commit.
import { hash } from 'node:crypto'
import type { Database, Prisma } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { Refusal } from '#src/refusal.ts'

/** Long enough for a queue that retries through a night. */
const keptSeconds = 86_400

const purpose = 'idempotent-answer'

export class KeyUsedForSomethingElse extends Refusal {
  constructor() {
    super('invalid', [
      {
        field: 'Idempotency-Key',
        problem: 'was used for another request',
        fix: 'Make a new key for each thing that is to be done, and send it again only with the same request.',
      },
    ])
  }
}

/** @param request.by who asks, `key` theirs for it, `asked` everything that makes it the same request.
 *  @param work does it, in the transaction it is given; what it returns can be written as JSON.
 *  @returns what it answered, now or when it was done. @throws KeyUsedForSomethingElse, and what `work` throws */
export async function once(
  { database: { prisma }, secretKeys }: { database: Pick<Database, 'prisma'>; secretKeys: SecretKeys },
  request: { by: string; key: string; asked: unknown },
  now: Date,
  work: (tx: Prisma.TransactionClient) => Promise<object>,
): Promise<{ answer: object; repeated: boolean }> {
  const id = digest([request.by, request.key])
  const asked = digest(request.asked)
  const context = Buffer.from(id).toString('base64url')
  return prisma.$transaction(async (tx) => {
    const expiresAt = new Date(now.getTime() + keptSeconds * 1000)
    const { count } = await tx.idempotentRequest.createMany({
      data: [{ id, request: asked, expiresAt }],
      skipDuplicates: true,
    })
    if (count === 0) {
      const before = await tx.idempotentRequest.findUniqueOrThrow({ where: { id } })
      if (!Buffer.from(before.request).equals(asked)) throw new KeyUsedForSomethingElse()
      if (before.answer === null) throw new Error('an idempotent request was committed without its answer')
      return { answer: JSON.parse(secretKeys.unseal(purpose, context, before.answer).toString()), repeated: true }
    }
    const answer = await work(tx)
    await tx.idempotentRequest.update({
      where: { id },
      data: { answer: secretKeys.seal(purpose, context, JSON.stringify(answer)) },
    })
    return { answer, repeated: false }
  })
}

const digest = (value: unknown): Uint8Array<ArrayBuffer> =>
  new Uint8Array(hash('sha256', JSON.stringify(value), 'buffer'))
