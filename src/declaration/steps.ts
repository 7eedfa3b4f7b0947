// What a change of the plan is, and how two descriptions of one thing are compared.
import type { Change } from '#src/audit/change.ts'
import type { Prisma } from '#src/db/database.ts'
import type { DeclaredUser } from './schema.ts'

export type PlannedChange = {
  action: 'create' | 'update' | 'delete'
  kind: 'api' | 'role' | 'client' | 'user' | 'route' | 'policy' | 'webhook' | 'setting' | 'branding'
  id: string
  /** Of an update, and of every change of a setting: what was, what will be. Never a secret. */
  fields?: Record<string, { from: unknown; to: unknown }>
  /** What whoever applies it should know. */
  note?: string
}

export type Step = PlannedChange & {
  run(
    tx: Prisma.TransactionClient,
    change: Change,
    secrets: { passwordHash(user: DeclaredUser): Promise<string | undefined> },
  ): Promise<unknown>
  /** After every `run`. */
  finish?(tx: Prisma.TransactionClient): Promise<void>
}

/** @returns undefined when nothing differs. */
export function differences(from: Record<string, unknown>, to: Record<string, unknown>) {
  const fields = Object.keys(to).filter((name) => canonical(from[name]) !== canonical(to[name]))
  if (fields.length === 0) return undefined
  return Object.fromEntries(fields.map((name) => [name, { from: from[name], to: to[name] }]))
}

/** One text for equal JSON: the database keeps no order of names. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner) =>
    inner && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}

export function definedOnly<T extends object>(input: T) {
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
  }
}
