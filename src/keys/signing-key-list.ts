// What an operator may see of the signing keys: everything but the private half.
import { announcedSeconds } from './key-rotation.ts'
import type { SigningKeyRow } from './signing-keys.ts'

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
