// What a question about a relation costs among a thousand rows and among a million: `node bench/relations.ts [--rounds=40] [--rows=1000000]`.
// Runs on a PostgreSQL of its own for some minutes and writes bench/results/relations.json. Both databases stay open and are asked by turns, so
// that whatever else the machine does meets both alike. Every answer is checked.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import pg from 'pg'
import { holdsRelation, searchObjects } from '#src/access/relations/relations.ts'
import { closeDatabase, type Database, openDatabase } from '#src/db/database.ts'
import { startEmbeddedPostgres } from '#src/db/embedded-postgres.ts'
import { migrate } from '#src/db/migrate.ts'
import { createLog } from '#src/log.ts'
import { fillRelations, relationsOfUser } from '#test/support/relation-rows.ts'

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '40' }, rows: { type: 'string', default: '1000000' } },
})
const log = createLog({ logLevel: 'silent' })
const few = 1_000
const most = Number(options.rows)
const goal = 1.2

type Ground = { rows: number; people: number; database: Database }
type Question = { name: string; ask(ground: Ground, n: number): Promise<void> }

const expecting = async (answer: Promise<boolean>, expected: boolean) => {
  if ((await answer) !== expected) throw new Error('a wrong answer')
}
/** No two of a few hundred in a row are the same, however few people there are: the same question asked twice at once is asked once. */
const one = (ground: Ground, n: number) => ({
  ...relationsOfUser((n * 7919) % ground.people, Math.floor(n / ground.people) % 10),
  database: ground.database,
})

const questions: Question[] = [
  {
    name: 'named: yes',
    ask: (ground, n) => {
      const { database, user, order } = one(ground, n)
      return expecting(holdsRelation(database, user, 'owner', order), true)
    },
  },
  {
    name: 'by a group in a group, on the parent: yes',
    ask: (ground, n) => {
      const { database, user, order } = one(ground, n)
      return expecting(holdsRelation(database, user, 'viewer', order), true)
    },
  },
  {
    name: 'a stranger, after every way: no',
    ask: (ground, n) => {
      const { database, stranger, order } = one(ground, n)
      return expecting(holdsRelation(database, stranger, 'viewer', order), false)
    },
  },
  {
    name: 'first ten objects of a person',
    ask: async (ground, n) => {
      const { database, user } = one(ground, n)
      const search = { objectType: 'order', relations: ['owner', 'viewer'], subject: user }
      if ((await searchObjects(database, search, { limit: 10 })).ids.length !== 10) throw new Error('a wrong page')
    },
  },
]

const dataDir = mkdtempSync(join(tmpdir(), 'sallyport-relations-'))
await chmod(dataDir, 0o711) // as root, the server's account must pass through
const server = await startEmbeddedPostgres({ dataDir, log, settings: { shared_buffers: '512MB', max_wal_size: '4GB' } })
const grounds: Ground[] = []
try {
  for (const rows of [few, most]) grounds.push(await prepare(rows))
  for (const ground of grounds) await warm(ground)
  const measured = []
  for (const question of questions) {
    for (const together of [1, 64]) {
      if (together > 1 && question.name.startsWith('first')) continue
      const taken = await measure(question, together)
      const [small = 0, large = 0] = taken.map(median)
      measured.push({ question: question.name, together, microseconds: [small, large], ratio: large / small })
      console.log(
        `${question.name.padEnd(44)} ${String(together).padStart(3)} at once   ${few}: ${small.toFixed(1).padStart(7)} us   ${most}: ${large.toFixed(1).padStart(7)} us   ratio ${(large / small).toFixed(3)}`,
      )
    }
  }
  // Alone, the way there and back is most of it. Together, what is left is the database's own work: a tree that is a level deeper.
  for (const [name, chosen] of Object.entries(Object.groupBy(measured, ({ together }) => `${together} at once`))) {
    const worst = Math.max(...(chosen ?? []).map(({ ratio }) => ratio))
    console.log(`${name}: worst ratio ${worst.toFixed(3)}, goal ${goal}: ${worst <= goal ? 'met' : 'MISSED'}`)
  }
  const directory = join(import.meta.dirname, 'results')
  mkdirSync(directory, { recursive: true })
  const result = { at: new Date().toISOString(), rows: [few, most], goal, measured }
  writeFileSync(join(directory, 'relations.json'), `${JSON.stringify(result, null, 2)}\n`)
} finally {
  for (const { database } of grounds) await closeDatabase(database)
  await server.stop()
  rmSync(dataDir, { recursive: true, force: true })
}

async function prepare(rows: number): Promise<Ground> {
  const url = new URL(server.url)
  const admin = new pg.Pool({ connectionString: server.url, max: 1 })
  await admin.query(`CREATE DATABASE relations_${rows}`)
  await admin.end()
  url.pathname = `/relations_${rows}`
  const database = openDatabase(url.href, { poolSize: 2, onError: () => undefined })
  await migrate(database, { log })
  const unlimited = new pg.Pool({ connectionString: url.href, max: 1 })
  await fillRelations(unlimited, rows)
  await unlimited.end()
  return { rows, people: Math.floor(rows / 2.4 / 10) - 1, database }
}

/** A server that has been up for a minute has its pages at hand, in each of its processes. */
async function warm(ground: Ground): Promise<void> {
  for (const { ask } of questions.slice(0, 3))
    for (let n = 0; n < 40_000; n += 200) await Promise.all(Array.from({ length: 200 }, (_, k) => ask(ground, n + k)))
}

/** @returns for each database, microseconds for one question in each round. */
async function measure({ ask }: Question, together: number): Promise<number[][]> {
  const taken: number[][] = grounds.map(() => [])
  const perRound = together === 1 ? 300 : 20 * together
  for (let round = -5; round < Number(options.rounds); round++)
    for (const at of round % 2 ? [0, 1] : [1, 0]) {
      const ground = grounds[at]
      if (!ground) continue
      const begun = performance.now()
      for (let n = 0; n < perRound; n += together)
        await Promise.all(Array.from({ length: together }, (_, k) => ask(ground, (round + 5) * perRound + n + k)))
      // The first rounds are for the plans and the caches.
      if (round >= 0) taken[at]?.push(((performance.now() - begun) * 1000) / perRound)
    }
  return taken
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}
