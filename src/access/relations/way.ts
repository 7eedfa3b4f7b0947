// By which rows does somebody stand so to an object? The same walk as that of holdsRelation (statements.ts), a step at a time, so that it can say
// where it came by. For the eyes of operators: a question costs a statement or two a step.
import type { Database } from '#src/db/database.ts'
import { mostPlaces, mostSteps } from './statements.ts'
import { type EntityRef, isEntity, isRelationName, parentRelation, type Relation } from './text.ts'

/** Everybody who stands so to an entity, and the rows that led here. */
type Place = EntityRef & { relation: string; rows: readonly Relation[] }

/** @returns the rows from the object to the subject, one of the shortest ways; undefined where there is none, and where looking for it would
 *  come by too many places. */
export async function wayOf(
  { pool }: Pick<Database, 'pool'>,
  subject: EntityRef,
  relation: string,
  object: EntityRef,
): Promise<readonly Relation[] | undefined> {
  if (!isEntity(subject) || !isEntity(object) || !isRelationName(relation)) return undefined
  let places: Place[] = [{ ...object, relation, rows: [] }]
  const seen = new Set(places.map(keyOf))
  for (let steps = 0; places.length > 0; steps++) {
    const last = await firstThatNames(pool, places, subject)
    if (last) return [...last.rows, { object: entityOf(last), relation: last.relation, subject }]
    if (steps === mostSteps) return undefined
    places = (await placesBehind(pool, places)).filter((place) => {
      const isNew = !seen.has(keyOf(place))
      seen.add(keyOf(place))
      return isNew
    })
    if (seen.size > mostPlaces) return undefined
  }
  return undefined
}

const entityOf = ({ type, id }: EntityRef): EntityRef => ({ type, id })
const keyOf = ({ type, id, relation }: Place): string => JSON.stringify([type, id, relation])

// As elsewhere: LATERAL with LIMIT, so that every place is looked up by the primary key (docs/decisions/035).
const given = `unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS given(type, id, relation, at)`
const at = (relation: string) =>
  `r.object_type = given.type COLLATE "C" AND r.object_id = given.id COLLATE "C" AND r.relation = ${relation}`

async function firstThatNames(
  pool: Database['pool'],
  places: readonly Place[],
  subject: EntityRef,
): Promise<Place | undefined> {
  const { rows } = await pool.query<{ at: string }>({
    name: 'relation_way_end',
    text: `SELECT given.at FROM ${given} CROSS JOIN LATERAL (
        SELECT 1 FROM relation r WHERE ${at('given.relation COLLATE "C"')}
          AND r.subject_relation = '' AND r.subject_type = (SELECT $4::text) AND r.subject_id = (SELECT $5::text) LIMIT 1
      ) named ORDER BY given.at LIMIT 1`,
    values: [...columnsOf(places), subject.type, subject.id],
  })
  return rows[0] && places[Number(rows[0].at) - 1]
}

async function placesBehind(pool: Database['pool'], places: readonly Place[]): Promise<Place[]> {
  const { rows } = await pool.query<{ at: string; type: string; id: string; set: string }>({
    name: 'relation_way_step',
    text: `SELECT given.at, behind.* FROM ${given} CROSS JOIN LATERAL (
        (SELECT subject_type AS type, subject_id AS id, subject_relation AS set FROM relation r
         WHERE ${at('given.relation COLLATE "C"')} AND r.subject_relation > '' LIMIT ${mostPlaces + 1})
        UNION ALL
        (SELECT subject_type, subject_id, '' FROM relation r
         WHERE ${at(`'${parentRelation}'`)} AND r.subject_relation = '' LIMIT ${mostPlaces + 1})
      ) behind LIMIT ${mostPlaces + 1}`,
    values: columnsOf(places),
  })
  return rows.flatMap(({ at: number, type, id, set }): Place[] => {
    const from = places[Number(number) - 1]
    if (!from) return []
    const [relation, subject] =
      set === '' ? [parentRelation, { type, id }] : [from.relation, { type, id, relation: set }]
    const rowsUntil = [...from.rows, { object: entityOf(from), relation, subject }]
    return [{ type, id, relation: set === '' ? from.relation : set, rows: rowsUntil }]
  })
}

const columnsOf = (places: readonly Place[]): string[][] => [
  places.map(({ type }) => type),
  places.map(({ id }) => id),
  places.map(({ relation }) => relation),
]
