// The statements over relations. A place is an object with a relation, `doc:1#viewer`; two kinds of rows lead from one place to others:
//   a set     doc:1#viewer@group:eng#member    whoever is at group:eng#member is at doc:1#viewer
//   a parent  doc:1#parent@folder:7            whoever is at folder:7#viewer is at doc:1#viewer, for every relation
// Each step looks rows up by an index and by key, whatever the planner thinks of the table: LATERAL with LIMIT leaves it no choice. Places are
// counted on the way, so that no question costs more than `mostPlaces` of them. Values that would make the planner think are behind a SELECT:
// a plan made for them would look cheaper than the one that is kept, and be made again each time, which costs more than the question.
import { batchedRead } from '#src/db/batched-reads.ts'

/** How many sets and parents may lie between an object and who holds it. */
export const mostSteps = 8
/** How many places one question may come by. */
export const mostPlaces = 10_000
/** How many rows are told of one object, and how many groups of one subject. */
export const mostTold = 1_000

const enough = `LIMIT ${mostPlaces + 1}`

/** Questions of a batch: each is a JSON array of strings, and its own key. It is parsed once; `json ->>` would do so for each of its strings. */
const questions = (...names: string[]) =>
  `(SELECT key, ${names.map((name, at) => `(cells ->> ${at}) COLLATE "C" AS ${name}`).join(', ')}
    FROM (SELECT key, key::jsonb AS cells FROM unnest((SELECT $1::text[])) AS key OFFSET 0) parsed OFFSET 0) q`

/** Everywhere that counts as the places of `start`, nearest first, each with its distance.
 *  UNION compares distances too: a circle comes by again, and ends with them. */
const placesFrom = (start: string) => `
  WITH RECURSIVE place AS (
    ${start}
    UNION
    SELECT next.type, next.id, next.relation, place.steps + 1
    FROM place CROSS JOIN LATERAL (
      (SELECT subject_type AS type, subject_id AS id, subject_relation AS relation FROM relation r
       WHERE r.object_type = place.type AND r.object_id = place.id AND r.relation = place.relation AND r.subject_relation > '' ${enough})
      UNION ALL
      (SELECT subject_type, subject_id, place.relation FROM relation r
       WHERE r.object_type = place.type AND r.object_id = place.id AND r.relation = 'parent' AND r.subject_relation = '' ${enough})
    ) next
    WHERE place.steps < ${mostSteps}
  )`

/** One row for each question whose answer is yes; `wide` where that could not be found out. The first place that says yes ends the walk. */
export const readHeld = batchedRead<{ key: string; wide: boolean }>(
  {
    name: 'relation_held',
    text: `
SELECT q.key, found.wide
FROM ${questions('subject_type', 'subject_id', 'relation', 'object_type', 'object_id')}
CROSS JOIN LATERAL (
  SELECT held IS NULL AS wide FROM (
    SELECT row_number() OVER () AS number, (
      SELECT true FROM relation r
      WHERE r.object_type = reached.type AND r.object_id = reached.id AND r.relation = reached.relation
        AND r.subject_relation = '' AND r.subject_type = q.subject_type AND r.subject_id = q.subject_id LIMIT 1) AS held
    FROM (
      ${placesFrom('SELECT q.object_type AS type, q.object_id AS id, q.relation AS relation, 0 AS steps')}
      SELECT * FROM place ${enough}
    ) reached
  ) seen
  WHERE held OR number > ${mostPlaces} LIMIT 1
) found`,
  },
  (row) => row.key,
)

type Listed = { key: string; rows: string[][] | null; more: boolean }

/** Rows of an object and of everything it lies in; `more` where that is not all. */
export const readSurroundings = batchedRead<Listed & { parents: string[][] | null }>(
  {
    name: 'relation_surroundings',
    text: `
SELECT q.key, told.rows, told.parents, told.more
FROM ${questions('object_type', 'object_id')}
CROSS JOIN LATERAL (
  WITH RECURSIVE within AS (
    SELECT q.object_type AS type, q.object_id AS id, 0 AS steps
    UNION
    SELECT above.type, above.id, within.steps + 1
    FROM within CROSS JOIN LATERAL (
      SELECT subject_type AS type, subject_id AS id FROM relation r
      WHERE r.object_type = within.type AND r.object_id = within.id AND r.relation = 'parent' AND r.subject_relation = '' LIMIT ${mostTold + 1}
    ) above
    WHERE within.steps < ${mostSteps}
  ),
  counted AS MATERIALIZED (SELECT * FROM within LIMIT ${mostTold + 1}),
  -- In a circle an object comes by again, at another distance.
  outermost AS MATERIALIZED (SELECT type, id, min(steps) AS steps FROM counted GROUP BY type, id),
  own AS MATERIALIZED (
    SELECT cells FROM (SELECT * FROM outermost ORDER BY steps, type, id) o CROSS JOIN LATERAL (
      SELECT json_build_array(object_type, object_id, relation, subject_type, subject_id, subject_relation) AS cells FROM relation r
      WHERE r.object_type = o.type AND r.object_id = o.id LIMIT ${mostTold + 1}
    ) of_one LIMIT ${mostTold + 1})
  SELECT
    (SELECT json_agg(json_build_array(type, id) ORDER BY steps, type, id) FROM outermost WHERE steps > 0) AS parents,
    (SELECT json_agg(cells) FROM (SELECT cells FROM own LIMIT ${mostTold}) listed) AS rows,
    (SELECT count(*) FROM counted) > ${mostTold} OR (SELECT count(*) FROM own) > ${mostTold} AS more
) told`,
  },
  (row) => row.key,
)

/** What a subject is a `member` of, and what those are; `more` where that is not all. */
export const readGroups = batchedRead<Listed>(
  {
    name: 'relation_groups',
    text: `
SELECT q.key, told.rows, told.more
FROM ${questions('subject_type', 'subject_id')}
CROSS JOIN LATERAL (
  WITH RECURSIVE membership AS (
    (SELECT object_type AS type, object_id AS id, 0 AS steps FROM relation r
     WHERE r.subject_type = q.subject_type AND r.subject_id = q.subject_id AND r.subject_relation = '' AND r.relation = 'member' LIMIT ${mostTold + 1})
    UNION
    SELECT above.type, above.id, membership.steps + 1
    FROM membership CROSS JOIN LATERAL (
      SELECT object_type AS type, object_id AS id FROM relation r
      WHERE r.subject_type = membership.type AND r.subject_id = membership.id AND r.subject_relation = 'member' AND r.relation = 'member' LIMIT ${mostTold + 1}
    ) above
    WHERE membership.steps < ${mostSteps}
  ),
  counted AS MATERIALIZED (SELECT * FROM membership LIMIT ${mostTold + 1})
  SELECT
    (SELECT json_agg(json_build_array(type, id) ORDER BY type, id) FROM (SELECT DISTINCT type, id FROM counted) groups) AS rows,
    (SELECT count(*) FROM counted) > ${mostTold} AS more
) told`,
  },
  (row) => row.key,
)

/** $1, $2 object; $3 relations; $4 type of subjects; $5 after; $6 how many. */
export const subjectsStatement = {
  name: 'relation_subjects',
  text: `
${placesFrom(`SELECT (SELECT $1::text) COLLATE "C" AS type, (SELECT $2::text) COLLATE "C" AS id, wanted COLLATE "C" AS relation, 0 AS steps FROM unnest((SELECT $3::text[])) wanted`)},
counted AS MATERIALIZED (SELECT * FROM place ${enough}),
reached AS (SELECT DISTINCT type, id, relation FROM counted)
SELECT NULL AS id, true AS wide WHERE (SELECT count(*) FROM counted) > ${mostPlaces}
UNION ALL
(SELECT DISTINCT found.id, false FROM reached CROSS JOIN LATERAL (
  SELECT subject_id AS id FROM relation r
  WHERE r.object_type = reached.type AND r.object_id = reached.id AND r.relation = reached.relation
    AND r.subject_relation = '' AND r.subject_type = (SELECT $4::text) AND r.subject_id > (SELECT $5::text)
  ORDER BY r.object_type, r.object_id, r.relation, r.subject_relation, r.subject_type, r.subject_id LIMIT (SELECT $6::int)
) found ORDER BY found.id LIMIT (SELECT $6::int))`,
}

/** From the subject outwards, only by places that can lead to what is searched for: whoever owns a million orders is not walked through them
 *  on the way to a folder. $1, $2 subject; $3, $4 types and relations of those places; $5 type of objects; $6 relations; $7 after; $8 how many. */
export const objectsStatement = {
  name: 'relation_objects',
  text: `
WITH RECURSIVE goal AS (SELECT type COLLATE "C" AS type, relation COLLATE "C" AS relation FROM unnest((SELECT $3::text[]), (SELECT $4::text[])) AS g(type, relation)),
wanted AS (SELECT relation COLLATE "C" AS relation FROM unnest((SELECT $6::text[])) AS w(relation)),
place AS (
  SELECT first.* FROM goal CROSS JOIN LATERAL (
    SELECT object_type AS type, object_id AS id, r.relation, 0 AS steps FROM relation r
    WHERE r.subject_type = (SELECT $1::text) AND r.subject_id = (SELECT $2::text) AND r.subject_relation = '' AND r.relation = goal.relation AND r.object_type = goal.type ${enough}
  ) first
  UNION
  SELECT next.type, next.id, next.relation, place.steps + 1
  FROM place CROSS JOIN LATERAL (
    SELECT by_set.* FROM goal CROSS JOIN LATERAL (
      SELECT object_type AS type, object_id AS id, r.relation FROM relation r
      WHERE r.subject_type = place.type AND r.subject_id = place.id AND r.subject_relation = place.relation
        AND r.relation = goal.relation AND r.object_type = goal.type ${enough}
    ) by_set
    UNION ALL
    SELECT by_parent.* FROM goal CROSS JOIN LATERAL (
      SELECT object_type, object_id, place.relation FROM relation r
      WHERE r.subject_type = place.type AND r.subject_id = place.id AND r.subject_relation = '' AND r.relation = 'parent'
        AND r.object_type = goal.type AND goal.relation = place.relation ${enough}
    ) by_parent
  ) next
  WHERE place.steps < ${mostSteps - 1}
),
counted AS MATERIALIZED (SELECT * FROM place ${enough}),
reached AS MATERIALIZED (SELECT DISTINCT type, id, relation FROM counted),
-- The last step: which rows of which subject count, and by which relation.
source AS (
  SELECT (SELECT $1::text) COLLATE "C" AS type, (SELECT $2::text) COLLATE "C" AS id, '' COLLATE "C" AS set, relation FROM wanted
  UNION
  SELECT reached.type, reached.id, reached.relation, wanted.relation FROM reached, wanted
  UNION
  SELECT reached.type, reached.id, '', 'parent' FROM reached JOIN wanted USING (relation)
)
SELECT NULL AS id, true AS wide WHERE (SELECT count(*) FROM counted) > ${mostPlaces}
UNION ALL
(SELECT DISTINCT found.id, false FROM source CROSS JOIN LATERAL (
  SELECT object_id AS id FROM relation r
  WHERE r.subject_type = source.type AND r.subject_id = source.id AND r.subject_relation = source.set AND r.relation = source.relation
    AND r.object_type = (SELECT $5::text) AND r.object_id > (SELECT $7::text)
  ORDER BY r.subject_type, r.subject_id, r.subject_relation, r.relation, r.object_type, r.object_id LIMIT (SELECT $8::int)
) found ORDER BY found.id LIMIT (SELECT $8::int))`,
}
