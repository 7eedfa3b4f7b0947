// Who stands how to what, one row each: written in bulk, asked one by one and searched in pages. Everybody who stands so to an object is
// whoever is named, whoever is in a set that is named (`group:eng#member`), and whoever stands so to a parent of it, through up to eight of those.
// What a relation allows is not decided here (decide.ts). The statements are in statements.ts, the text form in relation-text.ts.
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database, Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { type Flaw, quote, Refusal } from '#src/refusal.ts'
import {
  mostPlaces,
  objectsStatement,
  readGroups,
  readHeld,
  readSurroundings,
  subjectsStatement,
} from './statements.ts'
import {
  checkRelationName,
  checkTypeName,
  type EntityRef,
  formatEntity,
  formatRelation,
  InvalidRelation,
  isEntity,
  isRelationName,
  parentRelation,
  type Relation,
  readRelation,
  refuse,
  type SubjectRef,
} from './text.ts'

export type { EntityRef, Relation } from './text.ts'

/** How many relations one call may write and delete. */
export const mostWritten = 1_000
const mostFlawsTold = 20
/** Arbitrary, and different from the others (src/db/transaction.ts). */
const relationsLock = 7_270_748

/** The answer exists, but looking for it would cost more than one question may. It is neither yes nor no: a no could turn into a yes when
 *  something is taken away. */
export class TooManyRelations extends Refusal {
  constructor(field: string, entity: EntityRef) {
    super('invalid', [
      {
        field,
        problem: `is ${quote(formatEntity(entity))}, from where more than ${mostPlaces} groups and parents would have to be followed`,
        fix: 'Put fewer groups between subjects and objects, or ask about something narrower.',
      },
    ])
  }
}

/** Does the subject stand so to the object: by name, by a set, or by a parent? Questions that are asked at once share a statement.
 *  @returns false, without asking the database, for what cannot be a subject, a relation or an object. @throws TooManyRelations */
export async function holdsRelation(
  { pool }: Database,
  subject: EntityRef,
  relation: string,
  object: EntityRef,
): Promise<boolean> {
  if (!isEntity(subject) || !isEntity(object) || !isRelationName(relation)) return false
  const key = JSON.stringify([subject.type, subject.id, relation, object.type, object.id])
  const row = await readHeld(pool, key, key)
  if (row?.wide) throw new TooManyRelations('object', object)
  return row !== undefined
}

/** The rows of an object, of its parents and of theirs, each saying whose it is; and those parents, nearest first.
 *  @returns `complete: false` where there are more than 1,000 of either (a circle counts each time round): whoever forbids by what is missing must not rely on it. */
export async function relationsOf(
  { pool }: Database,
  object: EntityRef,
): Promise<{ relations: Relation[]; parents: EntityRef[]; complete: boolean }> {
  if (!isEntity(object)) return { relations: [], parents: [], complete: true }
  const key = JSON.stringify([object.type, object.id])
  const told = await readSurroundings(pool, key, key)
  return {
    relations: (told?.rows ?? []).map(toRelation),
    parents: (told?.parents ?? []).map(toEntity),
    complete: told?.more === false,
  }
}

/** What the subject is a `member` of, directly or as a member of a member, by type and id.
 *  @returns `complete: false` where there are more than 1,000. */
export async function groupsOf(
  { pool }: Database,
  subject: EntityRef,
): Promise<{ groups: EntityRef[]; complete: boolean }> {
  if (!isEntity(subject)) return { groups: [], complete: true }
  const key = JSON.stringify([subject.type, subject.id])
  const told = await readGroups(pool, key, key)
  return { groups: (told?.rows ?? []).map(toEntity), complete: told?.more === false }
}

/** Writes what is not there and deletes what is; the rest is as it should be already. People and clients that it names need not exist.
 *  @returns how many rows came and went. @throws InvalidRelation that names every flaw by its place, at most twenty */
export async function writeRelations(
  db: Db,
  input: { write?: readonly (Relation | string)[]; delete?: readonly (Relation | string)[] },
  change: Change,
): Promise<{ written: number; deleted: number }> {
  const { write, remove } = settle(input.write ?? [], input.delete ?? [])
  return atomically(db, async (tx) => {
    // Calls that only add may run beside each other; one that deletes runs alone. So of several at once the outcome is that of some order of
    // them, where row by row a deletion would miss what somebody is just adding.
    if (remove.length === 0) await tx.$executeRaw`SELECT pg_advisory_xact_lock_shared(${relationsLock})`
    else await tx.$executeRaw`SELECT pg_advisory_xact_lock(${relationsLock})`
    const deleted = remove.length === 0 ? 0 : await deleteRows(tx, remove)
    const written = write.length === 0 ? 0 : await insertRows(tx, write)
    await tx.relationLink.createMany({ data: linksAmong(write), skipDuplicates: true })
    await recordAudit(
      tx,
      {
        event: 'relations.changed',
        outcome: 'success',
        actor: change.actor,
        detail: { written, deleted },
      },
      change.origin,
    )
    return { written, deleted }
  })
}

// Columns, not rows: a thousand rows of six values are six thousand parameters.
function insertRows(tx: Prisma.TransactionClient, relations: readonly Relation[]): Promise<number> {
  const column = columnsOf(relations)
  return tx.$executeRaw`
    INSERT INTO relation (object_type, object_id, relation, subject_relation, subject_type, subject_id)
    SELECT * FROM unnest(${column('objectType')}::text[], ${column('objectId')}::text[], ${column('relation')}::text[],
      ${column('subjectRelation')}::text[], ${column('subjectType')}::text[], ${column('subjectId')}::text[])
    ON CONFLICT DO NOTHING`
}

function deleteRows(tx: Prisma.TransactionClient, relations: readonly Relation[]): Promise<number> {
  const column = columnsOf(relations)
  return tx.$executeRaw`
    DELETE FROM relation r
    USING unnest(${column('objectType')}::text[], ${column('objectId')}::text[], ${column('relation')}::text[],
      ${column('subjectRelation')}::text[], ${column('subjectType')}::text[], ${column('subjectId')}::text[])
      AS gone(object_type, object_id, relation, subject_relation, subject_type, subject_id)
    WHERE (r.object_type, r.object_id, r.relation, r.subject_relation, r.subject_type, r.subject_id)
      = (gone.object_type, gone.object_id, gone.relation, gone.subject_relation, gone.subject_type, gone.subject_id)`
}

function columnsOf(relations: readonly Relation[]) {
  const rows = relations.map(toRow)
  return (name: keyof (typeof rows)[number]) => rows.map((row) => row[name])
}

export type RelationFilter = {
  object?: EntityRef | undefined
  /** All objects of a type: instead of an object, and without a subject, for which no index would help. */
  objectType?: string | undefined
  relation?: string | undefined
  subject?: SubjectRef | undefined
}
export type RelationPage = { after?: string | undefined; limit: number }

/** Rows as they were written, in a fixed order: those of one object, of a type of objects, of one subject, or all. A subject without a relation means the rows that
 *  name it alone. @param page.limit 1 to 1,000. @throws InvalidRelation */
export async function listRelations(
  { pool }: Database,
  { object, objectType, relation, subject }: RelationFilter,
  page: RelationPage,
): Promise<{ relations: Relation[]; next: string | null }> {
  if (relation !== undefined && !object && !subject)
    throw new InvalidRelation([
      {
        field: 'relation',
        problem: 'needs an object or a subject beside it',
        fix: 'Name one of them, or leave it out.',
      },
    ])
  if (relation !== undefined) refuse(checkRelationName('relation', relation))
  if (objectType !== undefined && (object || subject))
    throw new InvalidRelation([
      {
        field: 'objectType',
        problem: 'has an object or a subject beside it',
        fix: 'Name the object, or the type alone.',
      },
    ])
  if (objectType !== undefined) refuse(checkTypeName('objectType', objectType))
  const values: unknown[] = []
  const given = (value: unknown) => `$${values.push(value)}`
  const where: string[] = []
  if (object) where.push(`object_type = ${given(object.type)}`, `object_id = ${given(object.id)}`)
  else if (objectType !== undefined) where.push(`object_type = ${given(objectType)}`)
  if (relation !== undefined) where.push(`relation = ${given(relation)}`)
  if (subject)
    where.push(
      `subject_type = ${given(subject.type)}`,
      `subject_id = ${given(subject.id)}`,
      `subject_relation = ${given(subject.relation ?? '')}`,
    )
  // The order of the index that finds them.
  const order = object || !subject ? orders.byObject : orders.bySubject
  if (page.after !== undefined) {
    const place = parsePlace(page.after, order.length)
    where.push(`(${order.join(', ')}) > (${place.map(given).join(', ')})`)
  }
  const { rows } = await pool.query<{ cells: string[] }>(
    `SELECT json_build_array(object_type, object_id, relation, subject_type, subject_id, subject_relation) AS cells FROM relation
     ${where.length > 0 ? `WHERE ${where.join(' AND ')}` : ''} ORDER BY ${order.join(', ')} LIMIT ${given(limitOf(page) + 1)}`,
    values,
  )
  const shown = rows.slice(0, page.limit)
  const last = shown.at(-1)
  const place = (cells: string[]) => formatPlace(order.map((column) => cells[columns.indexOf(column)] ?? ''))
  return {
    relations: shown.map(({ cells }) => toRelation(cells)),
    next: rows.length > page.limit && last ? place(last.cells) : null,
  }
}

export type Found = { ids: string[]; next: string | null }

/** Every subject of a type that stands in one of the relations to the object, by id; the same ones for whom holdsRelation says yes.
 *  @param page.limit 1 to 1,000. @throws InvalidRelation, TooManyRelations */
export async function searchSubjects(
  { pool }: Database,
  { subjectType, relations, object }: { subjectType: string; relations: readonly string[]; object: EntityRef },
  page: RelationPage,
): Promise<Found> {
  const after = afterOf(page)
  const limit = limitOf(page)
  if (!isEntity(object) || !isRelationName(subjectType)) return { ids: [], next: null }
  const wanted = wantedOf(relations)
  const values = [object.type, object.id, wanted, subjectType, after, limit + 1]
  const { rows } = await pool.query<FoundRow>({ ...subjectsStatement, values })
  return foundOf(rows, limit, new TooManyRelations('object', object))
}

/** Every object of a type to which the subject stands in one of the relations, by id; the same ones for which holdsRelation says yes.
 *  @param page.limit 1 to 1,000. @throws InvalidRelation, TooManyRelations */
export async function searchObjects(
  { prisma, pool }: Database,
  { objectType, relations, subject }: { objectType: string; relations: readonly string[]; subject: EntityRef },
  page: RelationPage,
): Promise<Found> {
  const after = afterOf(page)
  const limit = limitOf(page)
  if (!isEntity(subject) || !isRelationName(objectType)) return { ids: [], next: null }
  const wanted = wantedOf(relations)
  const links = await prisma.relationLink.findMany({ take: mostPlaces })
  const goals = goalsBefore(links, objectType, wanted)
  const values = [
    subject.type,
    subject.id,
    goals.map((goal) => goal.type),
    goals.map((goal) => goal.relation),
    objectType,
    wanted,
    after,
    limit + 1,
  ]
  const { rows } = await pool.query<FoundRow>({ ...objectsStatement, values })
  return foundOf(rows, limit, new TooManyRelations('subject', subject))
}

type Link = { objectType: string; relation: string; subjectType: string; subjectRelation: string }
type FoundRow = { id: string | null; wide: boolean }

/** The kinds of rows by which one place leads to another. */
function linksAmong(relations: readonly Relation[]): Link[] {
  const links = relations
    .filter(({ relation, subject }) => relation === parentRelation || subject.relation !== undefined)
    .map(({ object, relation, subject }) => ({
      objectType: object.type,
      relation,
      subjectType: subject.type,
      subjectRelation: subject.relation ?? '',
    }))
  return [...new Map(links.map((link) => [Object.values(link).join(' '), link])).entries()]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, link]) => link)
}

/** The kinds of places from which a row leads towards what is searched for, over any number of rows. */
function goalsBefore(links: readonly Link[], type: string, relations: readonly string[]) {
  const goals = new Map<string, { type: string; relation: string }>()
  const open = relations.map((relation) => ({ type, relation }))
  for (let goal = open.pop(); goal; goal = open.pop())
    for (const link of links) {
      if (link.objectType !== goal.type) continue
      const before: (typeof open)[number][] = []
      if (link.subjectRelation !== '' && link.relation === goal.relation)
        before.push({ type: link.subjectType, relation: link.subjectRelation })
      if (link.subjectRelation === '' && link.relation === parentRelation)
        before.push({ type: link.subjectType, relation: goal.relation })
      for (const place of before) {
        const key = `${place.type}#${place.relation}`
        if (goals.has(key)) continue
        goals.set(key, place)
        open.push(place)
      }
    }
  return [...goals.values()]
}

function foundOf(rows: readonly FoundRow[], limit: number, tooMany: TooManyRelations): Found {
  if (rows.some(({ wide }) => wide)) throw tooMany
  const ids = rows.flatMap(({ id }) => id ?? [])
  const shown = ids.slice(0, limit)
  const last = shown.at(-1)
  return { ids: shown, next: ids.length > limit && last !== undefined ? formatPlace([last]) : null }
}

function settle(write: readonly (Relation | string)[], remove: readonly (Relation | string)[]) {
  const count = write.length + remove.length
  if (count === 0)
    throw new InvalidRelation([
      { field: 'write', problem: 'and delete are both empty', fix: 'Name at least one relation.' },
    ])
  if (count > mostWritten)
    throw new InvalidRelation([
      {
        field: 'write',
        problem: `and delete have ${count} relations together, more than ${mostWritten}`,
        fix: 'Send them in several calls; a call that was repeated changes nothing.',
      },
    ])
  const flaws: Flaw[] = []
  const written = collect('write', write, flaws)
  const removed = collect('delete', remove, flaws)
  for (const [text, { field }] of removed) {
    const other = written.get(text)
    if (other)
      flaws.push({
        field,
        problem: `is ${quote(text)}, which ${other.field} is too`,
        fix: 'Write it or delete it, not both in one call.',
      })
  }
  if (flaws.length > 0) throw new InvalidRelation(flaws.slice(0, mostFlawsTold))
  const inOrder = (found: typeof written) => [...found.values()].map(({ relation }) => relation).toSorted(compare)
  return { write: inOrder(written), remove: inOrder(removed) }
}

/** By text, so that what is named twice is one. */
function collect(name: string, given: readonly (Relation | string)[], flaws: Flaw[]) {
  const found = new Map<string, { field: string; relation: Relation }>()
  for (const [index, one] of given.entries()) {
    const field = `${name}[${index}]`
    const read = readRelation(one, field)
    if ('flaws' in read) flaws.push(...read.flaws)
    else if (!found.has(formatRelation(read.relation)))
      found.set(formatRelation(read.relation), { field, relation: read.relation })
  }
  return found
}

/** One order for everybody: two that add the same rows wait for each other at most once. */
function compare(a: Relation, b: Relation): number {
  const [left, right] = [cellsOf(a), cellsOf(b)]
  const at = left.findIndex((cell, index) => cell !== right[index])
  return at < 0 ? 0 : Buffer.compare(Buffer.from(left[at] ?? ''), Buffer.from(right[at] ?? ''))
}

const columns = ['object_type', 'object_id', 'relation', 'subject_type', 'subject_id', 'subject_relation']
const orders = {
  byObject: ['object_type', 'object_id', 'relation', 'subject_relation', 'subject_type', 'subject_id'],
  bySubject: ['subject_type', 'subject_id', 'subject_relation', 'relation', 'object_type', 'object_id'],
}

const toEntity = ([type = '', id = '']: readonly string[]): EntityRef => ({ type, id })

function toRelation([
  type = '',
  id = '',
  relation = '',
  subjectType = '',
  subjectId = '',
  set = '',
]: readonly string[]): Relation {
  const subject = { type: subjectType, id: subjectId }
  return { object: { type, id }, relation, subject: set === '' ? subject : { ...subject, relation: set } }
}

const cellsOf = ({ object, relation, subject }: Relation): string[] => [
  object.type,
  object.id,
  relation,
  subject.type,
  subject.relation ?? '',
  subject.id,
]

const toRow = ({ object, relation, subject }: Relation) => ({
  objectType: object.type,
  objectId: object.id,
  relation,
  subjectType: subject.type,
  subjectRelation: subject.relation ?? '',
  subjectId: subject.id,
})

function wantedOf(relations: readonly string[]): string[] {
  refuse(relations.flatMap((relation, index) => checkRelationName(`relations[${index}]`, relation)))
  return [...new Set(relations)]
}

function limitOf({ limit }: RelationPage): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= 1_000) return limit
  throw new InvalidRelation([
    { field: 'limit', problem: 'must be a whole number from 1 to 1000', fix: 'Ask for the rest with after.' },
  ])
}

const afterOf = ({ after }: RelationPage): string => (after === undefined ? '' : (parsePlace(after, 1)[0] ?? ''))

/** Where a page ended, as text that readers hand back as it is. */
const formatPlace = (cells: readonly string[]): string => Buffer.from(JSON.stringify(cells)).toString('base64url')

function parsePlace(text: string, length: number): string[] {
  const cells = /^[\w-]{1,8000}$/.test(text) ? parseCells(Buffer.from(text, 'base64url').toString()) : undefined
  if (Array.isArray(cells) && cells.length === length && cells.every(isCell)) return cells
  throw new InvalidRelation([
    { field: 'after', problem: 'is not a place in this list', fix: 'Send the value of next in the page before.' },
  ])
}

function parseCells(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

const isCell = (cell: unknown): cell is string =>
  typeof cell === 'string' && cell.length <= 1_024 && cell.isWellFormed() && !cell.includes('\0')
