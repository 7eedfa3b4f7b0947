// What an operator may see of the signing keys: everything but the private half.
import type { Database } from '#src/db/database.ts'
import { announcedSeconds } from './key-rotation.ts'

export type SigningKeyRow = Readonly<{
  kid: string
  alg: string
  state: string
  createdAt: Date
  activatedAt: Date | null
  retiredAt: Date | null
}>

/** By algorithm, the newest first. */
export async function listSigningKeys({ pool }: Pick<Database, 'pool'>): Promise<SigningKeyRow[]> {
  const { rows } = await pool.query<SigningKeyRow>(
    `SELECT kid, alg, state, created_at AS "createdAt", activated_at AS "activatedAt", retired_at AS "retiredAt"
      FROM signing_key ORDER BY alg, created_at DESC, kid`,
  )
  return rows
}

export type ShownSigningKey = SigningKeyRow & {
  /** Since it was made. */
  ageSeconds: number
  /** What happens to it by itself, and from when on; null: nothing, until somebody asks. */
  nextChange: { what: 'signs' | 'retires' | 'removed'; at: Date } | null
}

/** @param rules as for careForSigningKeys. */
export function describeSigningKeys(
  rows: readonly SigningKeyRow[],
  rules: { rotationDays: number; keptSeconds: number },
  now: Date,
): ShownSigningKey[] {
  return rows.map((row) => ({
    ...row,
    ageSeconds: Math.max(0, Math.floor((now.getTime() - row.createdAt.getTime()) / 1000)),
    nextChange: nextChangeOf(row, rows, rules),
  }))
}

function nextChangeOf(
  row: SigningKeyRow,
  rows: readonly SigningKeyRow[],
  { rotationDays, keptSeconds }: { rotationDays: number; keptSeconds: number },
): ShownSigningKey['nextChange'] {
  if (row.state === 'retired')
    return row.retiredAt && { what: 'removed', at: new Date(row.retiredAt.getTime() + keptSeconds * 1000) }
  const other = (state: string) => rows.find((one) => one.alg === row.alg && one.state === state)
  const [current, next] = [other('current'), other('next')]
  if (rotationDays === 0 || !current?.activatedAt || !next) return null
  const due = current.activatedAt.getTime() + rotationDays * 86_400_000
  const announced = next.createdAt.getTime() + announcedSeconds * 1000
  return { what: row === current ? 'retires' : 'signs', at: new Date(Math.max(due, announced)) }
}
