// Who changes something, when, and from where: what every function that changes a row takes, so that none can forget its audit row.
import type { AuditEntry, AuditOrigin } from './audit.ts'

type Actor = NonNullable<AuditEntry['actor']>

export type Change = Readonly<{ now: Date; actor: Actor; origin?: AuditOrigin | undefined }>
