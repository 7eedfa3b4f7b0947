// Finding people among a million. A condition that few meet is read whole and put in order; otherwise a walk along the order finds a page
// soon. What is still a long way is walked in steps: a page then has less than was asked for, perhaps nothing, and says where to go on. So every
// page is an answer in time, whatever is asked, however many people there are.
import type { Db } from '#src/db/database.ts'
import { emailKey, type UserRecord } from './users.ts'

export type UserFilter = {
  /** The beginning of an address or a name, whatever its case. */
  q?: string | undefined
  role?: string | undefined
  disabled?: boolean | undefined
}

export type FoundUsers = {
  users: UserRecord[]
  /** For `after`; null: nobody is behind this page. */
  next: string | null
}

/** So many are read whole at once. */
const fewUsers = 4_000
/** So many are stepped over for one page. */
const stepUsers = 20_000

type Page = { after?: string | undefined; limit: number; newestFirst?: boolean }

/** By id, ascending (ids are random: an order that means nothing and is the same for every reader), or the newest first.
 *  @param page.after `next` of the page before. */
export async function searchUsers(db: Db, { q, role, disabled }: UserFilter, page: Page): Promise<FoundUsers> {
  const key = q === undefined ? undefined : emailKey(q)
  if ((q !== undefined && key === undefined) || (role !== undefined && !isStorable(role)))
    return { users: [], next: null }
  // A percent sign that somebody types is one that they look for.
  const begins = key === undefined ? undefined : `${key.replace(/[\\%_]/g, '\\$&')}%`
  const asked = { begins, role, disabled }
  const few = await findFew(db, asked, { held: fewUsers, begun: fewUsers })
  if (few) return pageOf(db, await readFew(db, few, page), page, null)
  const found = await walk(db, asked, page)
  const end = found.length > page.limit ? null : await endOfStep(db, asked, page)
  // They are far apart, or far away: those who got a role in the first year, say. To read no more than a step whole is better than half a page.
  const fewEnough = end === null ? undefined : await findFew(db, asked, { held: stepUsers, begun: 0 })
  if (fewEnough) return pageOf(db, await readFew(db, fewEnough, page), page, null)
  return pageOf(db, found, page, end)
}

/** @param found one more than the page holds, if there are so many; else `end` says where to go on. */
async function pageOf(db: Db, found: readonly string[], { limit }: Page, end: string | null): Promise<FoundUsers> {
  const ids = found.slice(0, limit)
  const records = await db.user.findMany({
    where: { id: { in: ids } },
    include: { roles: { orderBy: { roleName: 'asc' } } },
  })
  const users = records.sort((a, b) => ids.indexOf(a.id) - ids.indexOf(b.id))
  return { users, next: found.length > limit ? (ids.at(-1) ?? null) : end }
}

type Asked = { begins: string | undefined; role: string | undefined; disabled: boolean | undefined }

/** A piece of a statement. `put` takes a value and says how the statement speaks of it. */
type Piece = (put: (value: unknown) => string) => string

/** Without a name: planned for what is asked. */
function ask<Row>(db: Db, statement: Piece): Promise<Row[]> {
  const values: unknown[] = []
  const text = statement((value) => `$${values.push(value)}`)
  return db.$queryRawUnsafe<Row[]>(text, ...values)
}

/** The ids of those who meet one condition, and what is asked besides. */
type Few = { ids: Piece; besides: Asked }

/** By the rarer condition. @param most how many may hold the role, or be called so. @returns undefined where more do. */
async function findFew(db: Db, asked: Asked, most: { held: number; begun: number }): Promise<Few | undefined> {
  const { role, begins } = asked
  const byRole = role !== undefined && most.held > 0
  const byName = begins !== undefined && most.begun > 0
  if (!byRole && !byName) return undefined
  // Names in the order of their index: the planner may otherwise read the table until it has found so many.
  const counted = (rows: string, limit: number) =>
    `(SELECT count(*) FROM (SELECT FROM ${rows} LIMIT ${limit + 1}) c)::int`
  const [counts] = await ask<{ held: number | null; begun: number | null }>(
    db,
    (put) => `SELECT ${byRole ? counted(`user_role WHERE role_name = ${put(role)}`, most.held) : 'NULL::int'} AS held,
      ${
        byName
          ? `${counted(`users WHERE email_key LIKE ${put(begins)} ORDER BY email_key USING ~<~`, most.begun)}
            + ${counted(`users WHERE lower(name) LIKE ${put(begins)} ORDER BY lower(name) USING ~<~`, most.begun)}`
          : 'NULL::int'
      } AS begun`,
  )
  const held = upTo(most.held, counts?.held)
  const begun = upTo(most.begun, counts?.begun)
  if (Math.min(held, begun) === Number.POSITIVE_INFINITY) return undefined
  return held <= begun
    ? {
        ids: (put) => `SELECT user_id FROM user_role WHERE role_name = ${put(role)}`,
        besides: { ...asked, role: undefined },
      }
    : {
        ids: (put) =>
          `SELECT id FROM users WHERE email_key LIKE ${put(begins)} UNION SELECT id FROM users WHERE lower(name) LIKE ${put(begins)}`,
        besides: { ...asked, begins: undefined },
      }
}

const upTo = (most: number, count: number | null | undefined): number =>
  count === null || count === undefined || count > most ? Number.POSITIVE_INFINITY : count

/** @returns one more than the page holds, if there are so many. */
async function readFew(db: Db, { ids, besides }: Few, page: Page): Promise<string[]> {
  const rows = await ask<{ id: string }>(
    db,
    (
      put,
    ) => `SELECT u.id FROM users u ${where([`u.id = ANY (ARRAY(${ids(put)}))`, ...behind(page, put), ...conditions(besides, put)])}
      ${orderOf(page)} LIMIT ${put(page.limit + 1)}`,
  )
  return rows.map(({ id }) => id)
}

/** @returns one more than the page holds, if a step has so many. */
async function walk(db: Db, asked: Asked, page: Page): Promise<string[]> {
  const rows = await ask<{ id: string }>(
    db,
    (put) => `SELECT u.id FROM (${step(asked, page, 'u.*', put)} LIMIT ${stepUsers}) u ${where(conditions(asked, put))}
      ${orderOf(page)} LIMIT ${put(page.limit + 1)}`,
  )
  return rows.map(({ id }) => id)
}

/** @returns the last of a step, if it did not come to the end of all people. */
async function endOfStep(db: Db, asked: Asked, page: Page): Promise<string | null> {
  const [last] = await ask<{ id: string }>(
    db,
    (put) => `${step(asked, page, 'u.id', put)} OFFSET ${stepUsers - 1} LIMIT 1`,
  )
  return last?.id ?? null
}

/** Those who are switched off have an index in either order: a step is one of them. */
function step({ disabled }: Asked, page: Page, columns: string, put: Parameters<Piece>[0]): string {
  const off = disabled === true ? ['u.disabled_at IS NOT NULL'] : []
  return `SELECT ${columns} FROM users u ${where([...behind(page, put), ...off])} ${orderOf(page)}`
}

const orderOf = ({ newestFirst }: Page): string =>
  newestFirst ? 'ORDER BY u.created_at DESC, u.id DESC' : 'ORDER BY u.id'

function behind({ after, newestFirst }: Page, put: Parameters<Piece>[0]): string[] {
  if (after === undefined) return []
  const last = `${put(after)}::uuid`
  return [
    newestFirst
      ? `(u.created_at, u.id) < (SELECT l.created_at, l.id FROM users l WHERE l.id = ${last})`
      : `u.id > ${last}`,
  ]
}

/** The role is asked for person by person: as a join, everybody who holds it would be read first. */
function conditions({ begins, role, disabled }: Asked, put: Parameters<Piece>[0]): string[] {
  const all: string[] = []
  if (begins !== undefined) {
    const pattern = put(begins)
    all.push(`(u.email_key LIKE ${pattern} OR lower(u.name) LIKE ${pattern})`)
  }
  if (role !== undefined)
    all.push(`(SELECT true FROM user_role r WHERE r.user_id = u.id AND r.role_name = ${put(role)})`)
  if (disabled !== undefined) all.push(`u.disabled_at IS ${disabled ? 'NOT ' : ''}NULL`)
  return all
}

const where = (all: readonly string[]): string => (all.length > 0 ? `WHERE ${all.join(' AND ')}` : '')

const isStorable = (text: string): boolean => text.isWellFormed() && !text.includes('\0')
