// What a draft would have changed: decisions whose receipts are kept are made again, once with the policies in force and once with the draft
// among them, by the same decide() that made them. Of a receipt come subject, action, object, time and what the caller said (facts.ts); roles,
// groups, relations and attributes are read as they are now, for both alike. So the difference is the draft's alone, and where the first
// of the two is no longer what was answered then, something else has changed since, which is counted (docs/decisions/046).
import { setImmediate } from 'node:timers/promises'
import { decideAction, type Subject } from '#src/access/decide.ts'
import type { Decision } from '#src/access/gates.ts'
import type { ReceiptRecord } from '#src/access/receipts.ts'
import { ApiNotFound, type ApiRecord, findApi } from '#src/apis/apis.ts'
import type { Database, Db } from '#src/db/database.ts'
import { asksPolicies, credentialFrom, type DecisionFacts, missingFacts } from './facts.ts'
import { InvalidPolicy, type PolicyRecord } from './policies.ts'
import { type Draft, readTrial } from './trial.ts'

export const replayBounds = { days: 30, usualDays: 7, perPage: 1000, usualPerPage: 200, most: 10_000 } as const

/** Why a decision cannot be made again.
 *  older: its receipt is of a release that kept no facts. not_kept: policies may look at something that was said then and was not kept.
 *  subject_gone: who showed the credential is no longer here. action_gone: the API has no such action any more. */
export const undecidedReasons = ['older', 'not_kept', 'subject_gone', 'action_gone'] as const

type Answer = Readonly<Pick<Decision, 'allowed' | 'gate' | 'reason' | 'policies'>>
type Asked = Readonly<{
  /** Of the decision, as X-Decision-Id says. */
  id: string
  at: Date
  subject: { type: string; id: string }
  action: string
  object: { type: string; id: string }
}>
type Undecided = Asked & Readonly<{ why: (typeof undecidedReasons)[number]; names: readonly string[] }>

export type Replay = Readonly<{
  /** Receipts that were read: of yes, of no, and how many of both never came as far as the policies, so that none could change them. */
  looked: { permitted: number; refused: number; withoutPolicies: number }
  unchanged: number
  /** With the policies in force, the answer is no longer the one of then. */
  changedSince: number
  gains: (Asked & { before: Answer; after: Answer })[]
  loses: (Asked & { before: Answer; after: Answer })[]
  undecided: Undecided[]
  /** Where the next page begins; null: there is none. */
  next: string | null
}>

/** At once; each of them asks the database a few times. */
const together = 20

/** What is tried for a policy: a draft in force; an enforced one taken away; with another text, that text in force. */
export function draftOf({ name, text, state }: PolicyRecord, other: string | undefined): Draft {
  if (other !== undefined) return { name, text: other, field: 'text' }
  return state === 'enforced' ? { name } : { name, text, field: 'text' }
}

/** Newest first. @param page.since of receipts. @param page.after the `next` of the page before. @param page.limit receipts that are read.
 *  @throws InvalidPolicy, ApiNotFound */
export async function replayPolicies(
  database: Database,
  apiIdentifier: string,
  drafts: readonly Draft[],
  page: { since: Date; after?: string | undefined; limit: number },
): Promise<Replay> {
  const { prisma } = database
  const after = page.after === undefined ? undefined : readPlace(page.after)
  const trial = await readTrial(prisma, apiIdentifier, drafts)
  const api = await findApi(prisma, apiIdentifier)
  if (!api) throw new ApiNotFound(apiIdentifier)
  const rows = await readReceipts(prisma, apiIdentifier, { ...page, after })
  const receipts = rows.slice(0, page.limit)
  const asked = receipts.filter(wasQuestion)
  const permitted = receipts.filter(({ allowed }) => allowed).length
  const replay = {
    looked: { permitted, refused: receipts.length - permitted, withoutPolicies: receipts.length - asked.length },
    unchanged: 0,
    changedSince: 0,
    gains: [] as Replay['gains'],
    loses: [] as Replay['loses'],
    undecided: [] as Undecided[],
  }
  const here = await whoIsHere(prisma, asked)
  const again = { ...trial, database, api, here, actions: new Set(trial.ground.actions) }
  for (let from = 0; from < asked.length; from += together) {
    const made = await Promise.all(asked.slice(from, from + together).map((receipt) => decideAgain(again, receipt)))
    for (const one of made) {
      if ('why' in one) {
        replay.undecided.push(one)
        continue
      }
      const { answered, ...change } = one
      if (change.before.allowed !== answered) replay.changedSince++
      if (change.before.allowed === change.after.allowed) replay.unchanged++
      else replay[change.after.allowed ? 'gains' : 'loses'].push(change)
    }
    // Others are served in between.
    await setImmediate()
  }
  const last = receipts.at(-1)
  return { ...replay, next: rows.length > page.limit && last ? `${last.at.getTime()}.${last.id}` : null }
}

type Question = ReceiptRecord & {
  subjectKind: string
  subjectId: string
  action: string
  objectType: string
  objectId: string
}

/** Of AuthZEN, and as far as the policies. Routes of gateways and our own endpoints ask for requirements, which policies do not answer. */
function wasQuestion(receipt: ReceiptRecord): receipt is Question {
  const { endpoint, subjectKind, subjectId, action, objectType, objectId } = receipt
  const whole = ![subjectKind, subjectId, action, objectType, objectId].includes(null)
  return whole && /\/access\/v1\/evaluations?$/.test(endpoint) && asksPolicies(receipt as Pick<Decision, 'gate'>)
}

async function readReceipts(
  db: Db,
  api: string,
  { since, after, limit }: { since: Date; after: { at: Date; id: string } | undefined; limit: number },
): Promise<ReceiptRecord[]> {
  return db.decisionReceipt.findMany({
    where: {
      api,
      at: { gte: since, ...(after && { lte: after.at }) },
      ...(after && { OR: [{ at: { lt: after.at } }, { id: { lt: after.id } }] }),
    },
    orderBy: [{ at: 'desc' }, { id: 'desc' }],
    take: limit + 1,
  })
}

/** @throws InvalidPolicy */
function readPlace(after: string): { at: Date; id: string } {
  const match = /^(\d{1,15})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(after)
  const [, at, id] = match ?? []
  if (at !== undefined && id !== undefined) return { at: new Date(Number(at)), id }
  throw new InvalidPolicy([
    { field: 'after', problem: 'is not the next of a page before', fix: 'Send that, or nothing.' },
  ])
}

/** Who showed a credential had a row then: without one now there is nobody to ask about. Who was only named may be known elsewhere. */
async function whoIsHere(db: Db, receipts: readonly Question[]): Promise<ReadonlySet<string>> {
  const shown = receipts.filter(({ method }) => method !== null)
  const idsOf = (kind: string) => [
    ...new Set(shown.flatMap(({ subjectKind, subjectId }) => (subjectKind === kind ? subjectId : []))),
  ]
  const users = await db.user.findMany({ where: { id: { in: idsOf('user') } }, select: { id: true } })
  const clients = await db.client.findMany({ where: { id: { in: idsOf('client') } }, select: { id: true } })
  return new Set([...users.map(({ id }) => `user ${id}`), ...clients.map(({ id }) => `client ${id}`)])
}

type Again = Awaited<ReturnType<typeof readTrial>> & {
  database: Database
  api: ApiRecord
  here: ReadonlySet<string>
  actions: ReadonlySet<string>
}

async function decideAgain(again: Again, receipt: Question) {
  const { database, api, schema, here, actions, now, next } = again
  const { id, at, method, clientId, action, subjectKind, subjectId, objectType, objectId } = receipt
  const asked: Asked = {
    ...{ id, at, action },
    subject: { type: subjectKind, id: subjectId },
    object: { type: objectType, id: objectId },
  }
  const undecided = (why: Undecided['why'], names: readonly string[] = []): Undecided => ({ ...asked, why, names })
  if (receipt.facts === null) return undecided('older')
  if (!actions.has(action)) return undecided('action_gone')
  if (method !== null && !here.has(`${subjectKind} ${subjectId}`)) return undecided('subject_gone')
  const facts = receipt.facts as DecisionFacts
  const missing = missingFacts(facts, objectType, schema)
  if (missing.length > 0) return undecided('not_kept', missing)

  const credential = credentialFrom(facts, { method, clientId, action, at })
  const subject: Subject = { kind: subjectKind, id: subjectId, credential }
  const { properties = {}, context = {}, address, subject: subjectProperties, action: actionProperties } = facts
  const question = {
    ...{ api, action, object: { ...asked.object, properties }, context, address },
    ...{ subjectProperties, actionProperties },
  }
  const decide = async (policies: typeof now): Promise<Answer> => {
    const policiesOf = () => (policies.size > 0 ? policies : undefined)
    const {
      allowed,
      gate,
      reason,
      policies: names,
    } = await decideAction({ database, now: () => at, policiesOf }, subject, question)
    return { allowed, gate, reason, policies: names }
  }
  return { ...asked, answered: receipt.allowed, before: await decide(now), after: await decide(next) }
}
