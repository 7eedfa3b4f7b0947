// The lists that bound what a process remembers of callers, clients and tokens.
import { expect, test } from 'vitest'
import { createRecent } from '#src/recent.ts'

test('a list holds no more than it may, and forgets what was not asked for the longest', () => {
  const recent = createRecent<number>(3)
  for (const [at, key] of ['a', 'b', 'c'].entries()) recent.set(key, at)
  recent.get('a')
  recent.set('d', 3)
  recent.set('d', 4) // again, not one more
  expect([...recent.keys()].toSorted()).toEqual(['a', 'c', 'd'])
  for (let n = 0; n < 1_000; n++) recent.set(`caller ${n}`, n)
  expect([...recent.keys()]).toEqual(['caller 999', 'caller 998', 'caller 997'])
})
