// One request, one commit. Everything a request reads is remembered here, everything it writes is collected here, and both
// doors and the engine's storage adapter see the collected state. At the end one statement commits it, with the conditions
// that must hold once (a code is unused) inside. No HTTP words: the boundary that knows statuses is oauth/commit-boundary.ts.
//
// Order of events: runUnit -> reads and writes -> commitUnit(keep) -> what follows the commit (log lines) -> the response.
import { AsyncLocalStorage } from 'node:async_hooks'
import { createHash } from 'node:crypto'
import type { AuditEntry, AuditOrigin } from '#src/audit/audit.ts'
import { auditRow } from '#src/audit/audit.ts'
import type { Database } from '#src/db/database.ts'
import { groupCommitOf } from './group-commit.ts'
import type {
  ConsentWrite,
  ConsumeWrite,
  GrantEnd,
  GrantWrite,
  InteractionWrite,
  OriginWrite,
  ProgressWrite,
  ReceiptWrite,
  ReplayWrite,
  SessionRow,
  SessionWrite,
  TokenRow,
  TokenWrite,
  Verdict,
  Writes,
} from './statements.ts'

/** What survives of a request: everything; only what a refusal must keep (docs/decisions/008); only its record. */
export type Keep = 'all' | 'refusal' | 'audit'

/** Somebody else than the person whose session this request is of (src/impersonation). */
export type Acting = Readonly<{
  id: string
  userId: string
  email: string
  impersonatorId: string
  impersonatorEmail: string
}>

/** What a token is issued under. The first look of the request counts: a revocation that lands between the look and the
 *  commit then finds the new token already outdated. */
export type Ancestor = 'grant' | 'session' | 'user' | 'client' | 'api'

export type Unit = ReturnType<typeof createUnit>

export function createUnit(database: Database, origin: AuditOrigin) {
  const reads = new Map<string, Promise<unknown>>()
  const generations = new Map<string, number>()
  const audits: { entry: AuditEntry; withRefusal: boolean }[] = []
  const afterCommit: (() => void)[] = []
  const rows = {
    consume: new Map<string, ConsumeWrite>(),
    replay: new Map<string, ReplayWrite>(),
    token: new Map<string, TokenWrite>(),
    tokenEnd: new Set<string>(),
    grant: new Map<string, GrantWrite>(),
    grantEnd: new Map<string, GrantEnd>(),
    session: new Map<string, SessionWrite>(),
    sessionEnd: new Set<string>(),
    interaction: new Map<string, InteractionWrite>(),
    progress: new Map<string, ProgressWrite>(),
    interactionEnd: new Set<string>(),
    consent: new Map<string, ConsentWrite>(),
    origin: new Map<string, OriginWrite>(),
    receipt: new Map<string, ReceiptWrite>(),
  }

  return {
    database,
    origin,
    rows,
    /** What the answer carries as X-Decision-Id, when it is a refusal: its records name it. */
    decisionId: undefined as string | undefined,
    /** What went wrong where the answer does not show it. */
    failure: undefined as unknown,

    /** Known once the session was looked at. What the person is said to have done is recorded with who did it. */
    acting: undefined as Acting | undefined,

    /** Stand-ins for rows whose real value nobody presented (oauth/adapter/row-id.ts). */
    handles: new Map<string, Buffer>(),
    /** Handles whose row is found out when it is asked for, once. */
    lateHandles: new Map<string, () => Promise<Buffer>>(),
    /** Rows this request has looked at, by id, and sessions by uid. */
    tokens: new Map<string, { row: TokenRow; userCodeHash?: string }>(),
    sessions: new Map<string, SessionRow>(),
    /** Grant id -> the session it is given in. */
    grantSessions: new Map<string, string>(),

    /** Reads once a request; a failed read is not remembered. */
    remember<T>(key: string, read: () => Promise<T>): Promise<T> {
      let found = reads.get(key) as Promise<T> | undefined
      if (!found) {
        found = read()
        reads.set(key, found)
        found.catch(() => reads.delete(key))
      }
      return found
    },

    /** What came along with another read, for whoever asks for it by this key. */
    know(key: string, value: unknown): void {
      if (!reads.has(key)) reads.set(key, Promise.resolve(value))
    },

    /** @returns the id of where this request comes from, which is written with it. */
    noteOrigin(): string {
      const { address = null, userAgent = null } = origin
      const id = originId(address, userAgent)
      rows.origin.set(id, { id, address, userAgent: userAgent?.slice(0, 256) ?? null })
      return id
    },

    noteGeneration(kind: Ancestor, id: string, generation: number): void {
      const key = `${kind} ${id}`
      if (!generations.has(key)) generations.set(key, generation)
    },
    generationOf: (kind: Ancestor, id: string | null): number | null =>
      id === null ? null : (generations.get(`${kind} ${id}`) ?? null),

    /** Recorded in the same commit as the effect. Failures are recorded whatever becomes of the request.
     *  @param options.withRefusal the effect is one that a refusal keeps (something was revoked or ended). */
    audit(entry: AuditEntry, options: { withRefusal?: boolean } = {}): void {
      audits.push({ entry, withRefusal: options.withRefusal ?? false })
    },

    /** Runs once the writes are durable: log lines, metrics, notices. */
    afterCommit(run: () => void): void {
      afterCommit.push(run)
    },

    /** @returns the verdict that cost the request its writes, or undefined. @throws the database's error. */
    async commit(keep: Keep): Promise<Verdict | undefined> {
      const writes = collect(keep, this.decisionId, this.acting)
      const verdict = isEmpty(writes) ? undefined : await groupCommitOf(database.pool).commit(writes)
      if (verdict === undefined && keep === 'all') for (const run of afterCommit) run()
      return verdict
    },
  }

  function collect(keep: Keep, decisionId: string | undefined, acting: Acting | undefined): Writes {
    const kept = audits.filter(
      ({ entry, withRefusal }) => keep === 'all' || entry.outcome === 'failure' || (keep === 'refusal' && withRefusal),
    )
    const audit = kept.map(({ entry }) => auditRow(namingBoth(entry, acting), { ...origin, decisionId }))
    if (keep === 'audit') return { audit }
    const refusal: Writes = {
      replay: [...rows.replay.values()],
      tokenEnd: [...rows.tokenEnd].map((id) => ({ id })),
      grantEnd: [...rows.grantEnd.values()],
      sessionEnd: [...rows.sessionEnd].map((cookieHash) => ({ cookieHash })),
      interactionEnd: [...rows.interactionEnd].map((id) => ({ id, once: keep === 'all' })),
      audit,
      receipt: [...rows.receipt.values()],
    }
    if (keep === 'refusal') return refusal
    return {
      ...refusal,
      consume: [...rows.consume.values()],
      token: [...rows.token.values()],
      grant: [...rows.grant.values()],
      session: [...rows.session.values()],
      interaction: [...rows.interaction.values()],
      progress: [...rows.progress.values()],
      consent: [...rows.consent.values()],
      origin: [...rows.origin.values()],
    }
  }
}

function namingBoth(entry: AuditEntry, acting: Acting | undefined): AuditEntry {
  if (!acting || entry.actor?.kind !== 'user' || entry.actor.id !== acting.userId) return entry
  return { ...entry, detail: { ...entry.detail, impersonator: acting.impersonatorId } }
}

function isEmpty(writes: Writes): boolean {
  return Object.values(writes).every((rows) => rows.length === 0)
}

/** The same for the same pair on every process; cut to what keeps accidents out. */
function originId(address: string | null, userAgent: string | null): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([address, userAgent]))
    .digest()
  return `\\x${digest.toString('hex', 0, 16)}`
}

const storage = new AsyncLocalStorage<Unit>()

export function runUnit<T>(unit: Unit, run: () => Promise<T>): Promise<T> {
  return storage.run(unit, run)
}

/** @returns undefined outside a request, and where the session is the person's own. */
export function actingNow(): Acting | undefined {
  return storage.getStore()?.acting
}

/** @throws Error outside a unit: storage that nobody would commit is a programming error. */
export function currentUnit(): Unit {
  const unit = storage.getStore()
  if (!unit) throw new Error('no unit of work is open here: wrap the caller in runUnit')
  return unit
}
