// The name of a JWT: unique, in the order of time, spelled in one way only.
import { expect, test } from 'vitest'
import { idOfJti, isJwtId, jtiOf, newJwtId } from '#src/tokens/jwt-id.ts'

const at = (milliseconds: number) => newJwtId(new Date(milliseconds))

test('names made later sort later, so that inserts land at the end of the index', () => {
  const moments = [0, 1, 255, 256, 1_795_000_000_000, 1_795_000_000_001, 2 ** 41, 2 ** 47]
  const made = moments.map(at)
  expect([...made].sort(Buffer.compare)).toEqual(made)
})

test('ten thousand of one millisecond are ten thousand', () => {
  const made = Array.from({ length: 10_000 }, () => jtiOf(at(1_795_000_000_000)))
  expect(new Set(made).size).toBe(10_000)
})

test('a jti leads back to its bytes', () => {
  const id = at(1_795_000_000_000)
  expect(jtiOf(id)).toMatch(/^[A-Za-z0-9_-]{22}$/)
  expect(idOfJti(jtiOf(id))).toEqual(id)
  expect(isJwtId(id)).toBe(true)
})

test.each([
  ['nothing', undefined],
  ['a number', 7],
  ['empty', ''],
  ['15 bytes', Buffer.alloc(15).toString('base64url')],
  ['17 bytes', Buffer.alloc(17).toString('base64url')],
  ['a SHA-256', Buffer.alloc(32).toString('base64url')],
  ['with padding', Buffer.alloc(16).toString('base64')],
  ['with bits that no byte holds', `${'A'.repeat(21)}B`],
  ['with a space', ` ${'A'.repeat(22)}`],
  ['in the other alphabet', `+${'A'.repeat(21)}`],
])('a jti that is %s is none of ours', (_, jti) => {
  expect(idOfJti(jti)).toBeUndefined()
})
