// How far a sign-in has come is written under the version that was read: of two steps that saw the same one, one counts.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { commit, type ProgressWrite, readInteraction } from '#src/tokens/statements.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

let created: TestDatabase
beforeAll(async () => {
  created = await createTestDatabase()
})
afterAll(() => created.drop())

async function pending() {
  const { pool } = created.database
  const id = randomBytes(32)
  await pool.query(`INSERT INTO interaction (id, prompt, payload) VALUES ($1, 'login', '{}')`, [id])
  const write = async (version: number, more: Partial<ProgressWrite> = {}) => {
    const row = { id: `\\x${id.toString('hex')}`, version, progress: { step: version }, done: false, ...more }
    return (await commit(pool, [{ progress: [row] }]))[0]
  }
  return { id, write, read: () => readInteraction(pool, id) }
}

test('a step that saw an older state is lost, and changes nothing', async () => {
  const { write, read } = await pending()
  expect(await write(0)).toBeUndefined()
  expect(await write(0, { progress: { step: 'late' } })).toBe('gone')
  expect(await write(2)).toBe('gone')
  expect(await read()).toMatchObject({ progress: { step: 0 }, progressVersion: 1 })
  expect(await write(1)).toBeUndefined()
})

test('so is the completion of a sign-in that somebody began anew meanwhile', async () => {
  const { write } = await pending()
  await write(0)
  expect(await write(0, { done: true, progress: null })).toBe('gone')
  expect(await write(1, { done: true, progress: null })).toBeUndefined()
})

test('of twenty at once one counts', async () => {
  const { write } = await pending()
  const verdicts = await Promise.all(Array.from({ length: 20 }, () => write(0)))
  expect(verdicts.filter((verdict) => verdict === undefined)).toHaveLength(1)
})

test('a request that has ended keeps nothing of it and takes nothing more', async () => {
  const { id, write } = await pending()
  await write(0)
  const { pool } = created.database
  await commit(pool, [{ interactionEnd: [{ id: `\\x${id.toString('hex')}`, once: true }] }])
  expect(await write(1)).toBe('gone')
  const { rows } = await pool.query('SELECT progress FROM interaction WHERE id = $1', [id])
  expect(rows).toEqual([{ progress: null }])
})
