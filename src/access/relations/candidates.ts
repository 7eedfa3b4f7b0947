// Everybody or everything of a type that is known here, in pages: people and clients of the directory first, then what only relations speak of.
// Who of them may do something is asked one by one (gate/search.ts).
import type { Database } from '#src/db/database.ts'
import type { Found, RelationPage } from './relations.ts'
import { InvalidRelation, isRelationName } from './text.ts'

const directory: Readonly<Record<string, { page: string; known: string }>> = {
  user: {
    page: 'SELECT id::text FROM users WHERE id > $1::uuid ORDER BY id LIMIT $2',
    known: 'SELECT id::text FROM users WHERE id = ANY($1::uuid[])',
  },
  client: {
    page: 'SELECT id FROM client WHERE id COLLATE "C" > $1 ORDER BY id COLLATE "C" LIMIT $2',
    known: 'SELECT id FROM client WHERE id = ANY($1::text[])',
  },
}
const first: Readonly<Record<string, string>> = { user: '00000000-0000-0000-0000-000000000000', client: '' }
const named = {
  subject:
    'SELECT DISTINCT subject_id AS id FROM relation WHERE subject_type = $1 AND subject_id > $2 ORDER BY subject_id LIMIT $3',
  object:
    'SELECT DISTINCT object_id AS id FROM relation WHERE object_type = $1 AND object_id > $2 ORDER BY object_id LIMIT $3',
} as const
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** @param page.after of the page before. @returns at most `page.limit`, perhaps fewer or none though there are more.
 *  @throws InvalidRelation for an `after` that is of no page */
export async function listCandidates(
  { pool }: Pick<Database, 'pool'>,
  { side, type }: { side: 'subject' | 'object'; type: string },
  { after, limit }: RelationPage,
): Promise<Found> {
  if (!isRelationName(type)) return { ids: [], next: null }
  const known = Object.hasOwn(directory, type) ? directory[type] : undefined
  const [part, last] = after === undefined ? [known ? 'directory' : 'named', undefined] : readPlace(after, type)
  const ask = async (text: string, values: unknown[]) =>
    (await pool.query<{ id: string }>(text, values)).rows.map(({ id }) => id)

  if (part === 'directory' && known) {
    const ids = await ask(known.page, [last ?? first[type], limit + 1])
    const shown = ids.slice(0, limit)
    return {
      ids: shown,
      next: ids.length > limit ? writePlace('directory', shown.at(-1) ?? '') : writePlace('named', ''),
    }
  }
  const ids = await ask(named[side], [type, last ?? '', limit + 1])
  const shown = ids.slice(0, limit)
  const before = known ? await ask(known.known, [type === 'user' ? shown.filter((id) => uuid.test(id)) : shown]) : []
  return {
    ids: shown.filter((id) => !before.includes(id)),
    next: ids.length > limit ? writePlace('named', shown.at(-1) ?? '') : null,
  }
}

const writePlace = (part: 'directory' | 'named', id: string): string =>
  Buffer.from(`${part === 'directory' ? 'd' : 'n'}${id}`).toString('base64url')

function readPlace(text: string, type: string): ['directory' | 'named', string] {
  const place = Buffer.from(text, 'base64url').toString()
  const [part, id] = [place.slice(0, 1), place.slice(1)]
  if (
    /^[\w-]{1,2000}$/.test(text) &&
    (part === 'n' || (part === 'd' && (type !== 'user' || uuid.test(id)))) &&
    isText(id)
  )
    return [part === 'd' ? 'directory' : 'named', id]
  throw new InvalidRelation([
    { field: 'page.token', problem: 'is of no page', fix: 'Send what the page before answered, or nothing.' },
  ])
}

const isText = (id: string): boolean => id.isWellFormed() && !id.includes('\0')
