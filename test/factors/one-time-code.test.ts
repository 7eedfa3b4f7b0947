// What a code is good for: once, for minutes, in one place. What is mailed and typed over HTTP is in test/flows.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type CodeBinding,
  type CodePurpose,
  issueCode,
  readCode,
  redeemCode,
  spellCode,
  voidCode,
} from '#src/factors/one-time-code.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const keys = [randomBytes(32)]
const secretKeys = createSecretKeys(keys)
const now = new Date('2026-11-26T12:00:00Z')
const at = (seconds: number) => ({ secretKeys, now: new Date(now.getTime() + seconds * 1000) })
const binding: CodeBinding = { purpose: 'recovery', flow: { interaction: 'uid' }, subject: 'alice@example.com' }
const other = (code: string) => String((Number(code) + 1) % 1e8).padStart(8, '0')

let test: TestDatabase
beforeAll(async () => {
  test = await createTestDatabase()
})
afterAll(() => test.drop())
beforeEach(async () => {
  await test.database.prisma.oneTimeCode.deleteMany()
})

const issue = (bound = binding) => issueCode(test.database.prisma, bound, at(0))
const redeem = (code: string, bound = binding, seconds = 1) =>
  redeemCode(test.database.prisma, bound, code, at(seconds))

it('is eight digits, evenly drawn, and works once (ASVS 6.5.1)', async () => {
  const codes = new Set<string>()
  for (let n = 0; n < 20; n++) codes.add(await issue())
  expect(codes.size).toBe(20)
  const code = await issue()
  expect(code).toMatch(/^\d{8}$/)
  expect(await redeem(code)).toBe('right')
  expect(await redeem(code)).toBe('over')
})

it('is taken as people type it', async () => {
  const code = await issue()
  expect(spellCode(code)).toBe(`${code.slice(0, 4)} ${code.slice(4)}`)
  expect(await redeem(`  ${code.slice(0, 4)}–${code.slice(4)} `)).toBe('right')
  for (const typed of ['', '1234567', '123456789', '1234567x', '١٢٣٤٥٦٧٨', `12345678${' '.repeat(100)}`])
    expect(readCode(typed)).toBeUndefined()
  expect(readCode('１２３４５６７８')).toBe('12345678')
})

it('lives for ten minutes and not a moment longer (ASVS 6.5.5)', async () => {
  expect(await redeem(await issue(), binding, 599.999)).toBe('right')
  expect(await redeem(await issue(), binding, 600)).toBe('over')
})

describe('a code is refused', () => {
  it.each<[string, Partial<CodeBinding>, string]>([
    ['for another purpose', { purpose: 'sign_up' }, 'over'],
    ['in another pending request', { flow: { interaction: 'uid2' } }, 'over'],
    ['in a session of the same name', { flow: { session: 'uid' } }, 'over'],
    ['for another subject', { subject: 'mallory@example.com' }, 'wrong'],
  ])('%s (ASVS 6.6.2)', async (_what, change, verdict) => {
    const code = await issue()
    expect(await redeem(code, { ...binding, ...change })).toBe(verdict)
    expect(await redeem(code)).toBe('right') // and that cost the code nothing but a try
  })

  it('for every other purpose, also when one waits there too', async () => {
    const purposes: CodePurpose[] = ['sign_up', 'recovery', 'email_verification', 'email_change', 'email_code']
    const codes = new Map<CodePurpose, string>()
    for (const purpose of purposes) codes.set(purpose, await issue({ ...binding, purpose }))
    for (const [issued, code] of codes)
      for (const purpose of purposes)
        if (purpose !== issued && codes.get(purpose) !== code)
          expect(await redeem(code, { ...binding, purpose })).toBe('wrong')
  })

  it('once a newer one was asked for', async () => {
    const first = await issue()
    const second = await issue()
    if (first !== second) expect(await redeem(first)).toBe('wrong')
    expect(await redeem(second)).toBe('right')
  })

  it('once it was made void', async () => {
    const code = await issue()
    await voidCode(test.database.prisma, binding)
    expect(await redeem(code)).toBe('over')
  })

  it('after five wrong ones, the right one included; a new code starts afresh', async () => {
    const code = await issue()
    for (const typed of [other(code), '', 'x', other(code), '1'.repeat(500)]) expect(await redeem(typed)).toBe('wrong')
    expect(await redeem(code)).toBe('over')
    expect(await redeem(await issue())).toBe('right')
  })
})

it('of 20 that try the right one at once, one wins', async () => {
  const code = await issue()
  const verdicts = await Promise.all(Array.from({ length: 20 }, () => redeem(code)))
  expect(verdicts.filter((verdict) => verdict === 'right')).toHaveLength(1)
})

it('200 wrong ones at once are evaluated five times', async () => {
  const code = await issue()
  const verdicts = await Promise.all(Array.from({ length: 200 }, () => redeem(other(code))))
  expect(verdicts.filter((verdict) => verdict === 'wrong')).toHaveLength(5)
})

it('outlives a change of SECRET_KEY, and nothing in its row can be searched without one', async () => {
  const code = await issue()
  const rotated = createSecretKeys([randomBytes(32), ...keys])
  expect(
    await redeemCode(test.database.prisma, binding, code, { secretKeys: createSecretKeys([randomBytes(32)]), now }),
  ).toBe('wrong')
  expect(await redeemCode(test.database.prisma, binding, code, { secretKeys: rotated, now })).toBe('right')
  const row = JSON.stringify(await test.database.prisma.oneTimeCode.findFirst())
  for (const secret of [code, 'uid', 'alice']) expect(row).not.toContain(`"${secret}`)
})
