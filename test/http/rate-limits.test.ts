import { describe, expect, test } from 'vitest'
import { createBuckets, mostEntries } from '#src/http/rate-limits.ts'

let at = 1_000_000
const now = () => at
const takeAll = (buckets: ReturnType<typeof createBuckets>, key: string, times: number) =>
  Array.from({ length: times }, () => buckets.take(key, now))

describe('a bucket', () => {
  test('holds a minute’s worth, says when there is more, and that is so', () => {
    const buckets = createBuckets(6)
    expect(takeAll(buckets, 'a', 7)).toEqual([0, 0, 0, 0, 0, 0, 10])
    at += 9_999
    expect(buckets.take('a', now)).toBe(1)
    at += 1
    expect(takeAll(buckets, 'a', 2)).toEqual([0, 10])
  })

  test('is each caller’s own', () => {
    const buckets = createBuckets(2)
    takeAll(buckets, 'a', 5)
    expect(takeAll(buckets, 'b', 3)).toEqual([0, 0, 30])
  })

  test('fills evenly and never beyond a minute’s worth', () => {
    const buckets = createBuckets(60)
    takeAll(buckets, 'a', 60)
    at += 5_000
    expect(takeAll(buckets, 'a', 6)).toEqual([0, 0, 0, 0, 0, 1])
    at += 3_600_000
    expect(takeAll(buckets, 'a', 61).filter((wait) => wait > 0)).toEqual([1])
  })

  test('asked whether it has any, gives none away', () => {
    const buckets = createBuckets(1)
    expect([buckets.waitOf('a', now), buckets.waitOf('a', now)]).toEqual([0, 0])
    buckets.take('a', now)
    expect([buckets.waitOf('a', now), buckets.waitOf('a', now)]).toEqual([60, 60])
    at += 60_000
    expect(buckets.waitOf('a', now)).toBe(0)
  })

  test('is not emptied, nor closed for long, by a clock that is put back', () => {
    const buckets = createBuckets(60)
    takeAll(buckets, 'a', 30)
    at -= 3_600_000
    expect(takeAll(buckets, 'a', 31)).toEqual([...Array(30).fill(0), 1])
    at += 1_000
    expect(buckets.take('a', now)).toBe(0)
  })

  test('of size 0 is none: no limit, and nothing is kept', () => {
    const buckets = createBuckets(0)
    expect(takeAll(buckets, 'a', 1000).every((wait) => wait === 0)).toBe(true)
    expect([buckets.waitOf('a', now), buckets.size()]).toEqual([0, 0])
  })
})

test('a crowd of addresses takes a bounded amount of memory, and whoever calls goes on being counted', () => {
  const buckets = createBuckets(10)
  for (let n = 0; n < 5 * mostEntries; n++) {
    buckets.take(`2001:db8:${n}::/64`, now)
    if (n % 1_000 === 0) buckets.take('here', now)
  }
  expect(buckets.size()).toBe(mostEntries)
  expect(buckets.take('here', now)).toBeGreaterThan(0)
})
