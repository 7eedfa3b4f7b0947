// The queue in front of a read, with a database that answers when the test says so.
import { expect, test } from 'vitest'
import { createReader } from '#src/db/batched-reads.ts'

type Row = { id: string; seen: number }

function start() {
  const asked: { ids: unknown[]; answer(rows: Row[]): void; fail(error: unknown): void }[] = []
  const read = createReader<Row>(
    (ids) => new Promise((resolve, reject) => asked.push({ ids, answer: resolve, fail: reject })),
    (row) => row.id,
  )
  return { asked, read: (id: string) => read(id, id) }
}
const settled = () => new Promise((resolve) => setImmediate(resolve))

test('a read leaves at once; those that arrive while two are under way leave together, each id once', async () => {
  const { asked, read } = start()
  for (const id of ['a', 'b', 'c', 'd', 'c']) void read(id)
  asked[0]?.answer([])
  await settled()
  expect(asked.map(({ ids }) => ids)).toEqual([['a'], ['b'], ['c', 'd']])
})

test('each hears of its own row, and of none where there is none', async () => {
  const { asked, read } = start()
  void read('x')
  void read('y')
  const [a, missing, b] = [read('a'), read('missing'), read('b')]
  asked[0]?.answer([])
  await settled()
  asked[2]?.answer([
    { id: 'b', seen: 2 },
    { id: 'a', seen: 1 },
  ])
  await expect(Promise.all([a, missing, b])).resolves.toEqual([{ id: 'a', seen: 1 }, undefined, { id: 'b', seen: 2 }])
})

test('a read never joins one that has left: that one may be older than a commit the asker knows of', async () => {
  const { asked, read } = start()
  const before = read('a')
  const after = read('a')
  expect(asked).toHaveLength(2)
  asked[0]?.answer([])
  asked[1]?.answer([{ id: 'a', seen: 1 }])
  await expect(before).resolves.toBeUndefined()
  await expect(after).resolves.toEqual({ id: 'a', seen: 1 })
})

test('a database that is away refuses those who wait too; any other error only those it concerns', async () => {
  const { asked, read } = start()
  const [first, second, third] = [read('a'), read('b'), read('c')]
  for (const answer of [first, second, third]) answer?.catch(() => undefined)
  asked[0]?.fail(Object.assign(new Error('bad value'), { code: '22P02' }))
  await expect(first).rejects.toMatchObject({ code: '22P02' })
  expect(asked[2]?.ids).toEqual(['c'])
  const fourth = read('d')
  fourth.catch(() => undefined)
  asked[1]?.fail(Object.assign(new Error('terminated'), { code: '57P01' }))
  await expect(second).rejects.toMatchObject({ code: '57P01' })
  await expect(fourth).rejects.toMatchObject({ code: '57P01' })
})
