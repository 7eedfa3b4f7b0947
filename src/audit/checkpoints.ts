// Signing the head of the chain, once a minute while there is something new. Whoever can write to the database can compute hashes anew; they
// cannot sign (the key is sealed under SECRET_KEY). What is cut off or rewritten below a checkpoint contradicts it.
import type { Database } from '#src/db/database.ts'
import { inTransaction } from '#src/db/transaction.ts'
import { isSealingDue, readChain, sealAll } from './seal.ts'
import { type Checkpoint, checkpointType, type Sign } from './statements.ts'

/** For so long the newest rows are sealed and not yet signed. */
export const checkpointSeconds = 60

/** The head is not what was signed: somebody changed the record. Nothing more is signed until an operator has looked. */
export class ChainContradicted extends Error {
  override name = 'ChainContradicted'
  constructor(position: number) {
    super(
      `The audit record contradicts what was signed about position ${position}. Nothing more will be signed; run \`sallyport audit verify\`.`,
    )
  }
}

type Deps = { database: Pick<Database, 'pool'>; sign: Sign; issuer: string }

/** The scheduled work (src/main.ts): seals, and signs when it is time. */
export async function careForChain(
  { database, sign, issuer }: Deps,
  { now, signal }: { now: Date; signal?: AbortSignal },
): Promise<{ sealed: number; signed: Checkpoint | undefined }> {
  const sealed = await sealAll(database, signal ? { signal } : {})
  const due = await isCheckpointDue(database, now)
  return { sealed, signed: due ? await signCheckpoint({ database, sign, issuer }, now) : undefined }
}

/** Cheap: the look before the lock. */
export async function isChainDue(database: Pick<Database, 'pool'>, now: Date): Promise<boolean> {
  return (await isSealingDue(database)) || (await isCheckpointDue(database, now))
}

async function isCheckpointDue({ pool }: Pick<Database, 'pool'>, now: Date): Promise<boolean> {
  const { position, signedPosition, signedAt } = await readChain(pool)
  return (
    position > signedPosition && (signedAt === null || now.getTime() - signedAt.getTime() >= checkpointSeconds * 1000)
  )
}

/** Signs the head, whatever time it is. @returns undefined when it is signed already.
 *  @throws ChainContradicted; SigningKeysUnreadable and the like of `sign`. */
export async function signCheckpoint(
  { database: { pool }, sign, issuer }: Deps,
  now: Date,
): Promise<Checkpoint | undefined> {
  const { position, hash, startPosition, startHash, signedPosition } = await readChain(pool)
  if (position === signedPosition) return undefined
  const payload: Checkpoint = {
    iss: issuer,
    iat: Math.floor(now.getTime() / 1000),
    position,
    hash,
    start: { position: startPosition, hash: startHash },
  }
  // Outside of the transaction: reading the key takes a connection of its own.
  const { statement } = await sign(checkpointType, payload)
  return inTransaction(pool, async (connection) => {
    const chain = await readChain(connection, { lock: true })
    // Of two that sign at once one does; a start that moved meanwhile signed for itself (retention.ts).
    if (chain.signedPosition >= position || chain.startPosition !== startPosition) return undefined
    const { rows } = await connection.query<{ position: number; signed: string; sealed: string | null }>(
      `SELECT k.position::float8 AS position, k.statement AS signed, encode(s.hash, 'hex') AS sealed
        FROM audit_checkpoint k LEFT JOIN audit_seal s ON s.position = k.position ORDER BY k.id DESC LIMIT 1`,
    )
    const [last] = rows
    if (last && last.position > startPosition && hashIn(last.signed) !== last.sealed)
      throw new ChainContradicted(last.position)
    await connection.query(`INSERT INTO audit_checkpoint (position, statement) VALUES ($1, $2)`, [position, statement])
    await connection.query(`UPDATE audit_chain SET signed_position = $1, signed_at = $2`, [position, now])
    return payload
  })
}

function hashIn(statement: string): string {
  const { hash } = JSON.parse(Buffer.from(statement.split('.')[1] ?? '', 'base64url').toString()) as { hash: string }
  return hash
}
