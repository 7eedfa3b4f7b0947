// What is stored of the configuration: checked by the schemas of the environment, all or nothing, recorded, never under somebody's hands.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readConfig, withStored } from '#src/config.ts'
import { readConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Database } from '#src/db/database.ts'
import { fingerprint } from '#src/editing.ts'
import type { Refusal } from '#src/refusal.ts'
import {
  changeSettings,
  describeSettings,
  listStored,
  readSettings,
  type SettingPatch,
} from '#src/settings/settings.ts'
import { clearAudit } from '#test/support/audit.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const config = readConfig({ EMAIL_SIGN_IN: 'on' })
let created: TestDatabase
let database: Database

beforeAll(async () => {
  created = await createTestDatabase()
  database = created.database
})
afterAll(() => created.drop())
beforeEach(async () => {
  await database.prisma.setting.deleteMany()
  await clearAudit(database)
})

const set = (patch: SettingPatch, seen?: string) => changeSettings(database.prisma, config, patch, change, seen)
const stored = async () => Object.fromEntries(await readSettings(database))
const refusal = (patch: SettingPatch, seen?: string) =>
  set(patch, seen).then(
    () => {
      throw new Error('it was not refused')
    },
    (error: Refusal) => error.flaws.map(({ field, problem }) => `${field} ${problem}`),
  )

test('several at once are one commit, one version and one event with what was and what is', async () => {
  await set({ SIGN_UP: 'open' })
  await clearAudit(database)
  const before = await readConfigurationVersion(database)
  await set({ SIGN_UP: 'invitation', SESSION_TTL_SECONDS: 7200, THEME_CSS: ':root { --accent: #5b21b6 }' })
  expect(await stored()).toEqual({
    SIGN_UP: 'invitation',
    SESSION_TTL_SECONDS: '7200',
    THEME_CSS: ':root { --accent: #5b21b6 }',
  })
  expect(await readConfigurationVersion(database)).toBe(before + 1n)
  const events = await database.prisma.auditEvent.findMany()
  expect(events.map(({ event, actorKind, detail }) => ({ event, actorKind, detail }))).toEqual([
    {
      event: 'setting.changed',
      actorKind: change.actor.kind,
      detail: {
        names: ['SIGN_UP', 'SESSION_TTL_SECONDS', 'THEME_CSS'],
        changes: [
          'SIGN_UP: open -> invitation',
          'SESSION_TTL_SECONDS: not stored -> 7200',
          'THEME_CSS: not stored -> 27 characters',
        ],
      },
    },
  ])
})

test('null takes away what is stored, and what is the same already is recorded as nothing', async () => {
  await set({ SIGN_UP: 'open', API_KEY_DAYS: '030' })
  expect(await stored()).toEqual({ SIGN_UP: 'open', API_KEY_DAYS: '30' }) // one text for one value
  await clearAudit(database)
  await set({ SIGN_UP: 'open', API_KEY_DAYS: 30, EMAIL_VERIFICATION: null })
  expect(await database.prisma.auditEvent.count()).toBe(0)
  await set({ SIGN_UP: null })
  expect(await stored()).toEqual({ API_KEY_DAYS: '30' })
})

describe('refused, and nothing is stored', () => {
  test.each<[SettingPatch, string]>([
    [{ SIGN_UP: 'everybody' }, 'SIGN_UP is "everybody", which is not known here'],
    [{ SESSION_TTL_SECONDS: 299 }, 'SESSION_TTL_SECONDS must be'],
    [{ SESSION_TTL_SECONDS: 3600.5 }, 'SESSION_TTL_SECONDS must be'],
    [{ DECISION_RECEIPTS_PERMITTED: '2' }, 'DECISION_RECEIPTS_PERMITTED must be a share'],
    [{ SIGN_UP: '' }, 'SIGN_UP is empty'],
    [{ THEME_CSS: 'x'.repeat(16_385) }, 'THEME_CSS must have at most 16384 characters'],
    [{ THEME_CSS: 'a\0b' }, 'THEME_CSS must be text without control characters'],
    [{ THEME_CSS: 'a\ud800b' }, 'THEME_CSS must be text without control characters'],
    [{ SECRET_KEY: 'x' }, 'SECRET_KEY is decided by the environment alone'],
    [{ ISSUER_URL: 'https://elsewhere.example' }, 'ISSUER_URL is decided by the environment alone'],
    [{ TRUST_PROXY: null }, 'TRUST_PROXY is decided by the environment alone'],
    [{ SIGNUP: 'open' }, '"SIGNUP" is no setting here'],
    [{ constructor: 'x' }, '"constructor" is no setting here'],
    [{ EMAIL_SIGN_IN: 'off' }, 'EMAIL_SIGN_IN is set by the environment of the server'],
  ])('%j', async (patch, expected) => {
    expect(await refusal({ EMAIL_VERIFICATION: 'required', ...patch })).toEqual([expect.stringContaining(expected)])
    expect(await stored()).toEqual({})
    expect(await database.prisma.auditEvent.count()).toBe(0)
  })

  test('every flaw at once', async () => {
    expect(await refusal({ SIGN_UP: 'x', API_KEY_DAYS: 0, EMAIL_SIGN_IN: 'maybe' })).toHaveLength(4)
  })
})

test('of two editors the second hears of the first, and overwrites nothing', async () => {
  const seen = fingerprint(describeSettings(config, await listStored(database.prisma)))
  await set({ THEME_CSS: 'a{}' }, seen)
  expect(await refusal({ THEME_CSS: 'b{}' }, seen)).toEqual([expect.stringContaining('If-Match')])
  const same = fingerprint(describeSettings(config, await listStored(database.prisma)))
  await set({ THEME_CSS: 'c{}' }) // as long as the one before
  expect(await refusal({ THEME_CSS: 'd{}' }, same)).toEqual([expect.stringContaining('If-Match')])
  expect(await stored()).toEqual({ THEME_CSS: 'c{}' })
})

test('of two at the same moment with the same view one wins', async () => {
  const seen = fingerprint(describeSettings(config, await listStored(database.prisma)))
  const results = await Promise.allSettled([set({ SIGN_UP: 'open' }, seen), set({ API_KEY_DAYS: 5 }, seen)])
  expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  expect(Object.keys(await stored())).toHaveLength(1)
})

test('what the environment decides may be taken away behind it', async () => {
  await database.prisma.setting.create({ data: { name: 'EMAIL_SIGN_IN', value: 'off', updatedAt: change.now } })
  const shown = async () =>
    describeSettings(config, await listStored(database.prisma)).data.find(({ name }) => name === 'EMAIL_SIGN_IN')
  expect(await shown()).toMatchObject({ value: 'on', source: 'environment', stored: true, editable: false })
  expect(withStored(config, await readSettings(database)).emailSignIn).toBe('on')
  await set({ EMAIL_SIGN_IN: null })
  expect(await shown()).toMatchObject({ value: 'on', source: 'environment', stored: false, editable: false })
})
