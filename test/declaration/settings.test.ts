// Settings and the sheet in the declarative file: checked as the environment is, compared with what is stored, written out again.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readConfig } from '#src/config.ts'
import type { Database } from '#src/db/database.ts'
import { applyDeclaration } from '#src/declaration/apply.ts'
import { exportDeclaration } from '#src/declaration/export.ts'
import { expandBranding, noteOverridden } from '#src/declaration/kinds/settings.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import type { Refusal } from '#src/refusal.ts'
import { readSettings } from '#src/settings/settings.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const outside = mkdtempSync(join(tmpdir(), 'sallyport-settings-'))
const folder = join(outside, 'config')
let created: TestDatabase
let database: Database

beforeAll(async () => {
  created = await createTestDatabase()
  database = created.database
  mkdirSync(folder)
})
afterAll(async () => {
  await created.drop()
  rmSync(outside, { recursive: true })
})
beforeEach(() => database.prisma.setting.deleteMany())

const file = `settings:
  signUp: open
  emailSignIn: on
  decisionReceiptsPermitted: 0.05
  sessionTtlSeconds: 7200
branding:
  css: |
    :root { --accent: #5b21b6 }
    @media (prefers-color-scheme: dark) { :root { --accent: #c4b5fd } }
`
const css = ':root { --accent: #5b21b6 }\n@media (prefers-color-scheme: dark) { :root { --accent: #c4b5fd } }\n'

const apply = (text: string, options: { prune?: boolean; dryRun?: boolean } = {}) =>
  applyDeclaration(database, expandBranding(parseDeclaration(text), folder), {
    ...{ prune: false, dryRun: false, ...options },
    ...change,
  })
const stored = async () => Object.fromEntries(await readSettings(database))
const refusals = (text: string) => {
  try {
    expandBranding(parseDeclaration(text), folder)
  } catch (error) {
    return (error as Refusal).flaws.map(({ field, problem }) => `${field} ${problem}`)
  }
  return []
}

test('a file stores what it says, says what it will change, and changes nothing the second time', async () => {
  const planned = await apply(file, { dryRun: true })
  expect(await stored()).toEqual({})
  const changes = await apply(file)
  expect(changes).toEqual(planned)
  expect(changes).toEqual([
    { action: 'create', kind: 'setting', id: 'signUp', fields: { value: { from: null, to: 'open' } } },
    { action: 'create', kind: 'setting', id: 'emailSignIn', fields: { value: { from: null, to: 'on' } } },
    { action: 'create', kind: 'setting', id: 'decisionReceiptsPermitted', fields: { value: { from: null, to: 0.05 } } },
    { action: 'create', kind: 'setting', id: 'sessionTtlSeconds', fields: { value: { from: null, to: 7200 } } },
    { action: 'create', kind: 'branding', id: 'css', fields: { text: { from: '', to: css } } },
  ])
  expect(await stored()).toEqual({
    SIGN_UP: 'open',
    EMAIL_SIGN_IN: 'on',
    DECISION_RECEIPTS_PERMITTED: '0.05',
    SESSION_TTL_SECONDS: '7200',
    THEME_CSS: css,
  })
  expect(await apply(file)).toEqual([])
  expect(await apply(file, { prune: true })).toEqual([])
  expect(await apply(file.replace('7200', '9000'))).toEqual([
    { action: 'update', kind: 'setting', id: 'sessionTtlSeconds', fields: { value: { from: 7200, to: 9000 } } },
  ])
})

test('an export is the file again, byte for byte, in the order of the configuration', async () => {
  await apply(file)
  const text = await exportDeclaration(database.prisma)
  expect(text.slice(text.indexOf('settings:'))).toBe(file)
  await apply('settings: {}\nbranding: {}', { prune: true })
  expect(await stored()).toEqual({})
  await apply(text)
  expect(await exportDeclaration(database.prisma)).toBe(text)
  expect(await apply(text, { prune: true })).toEqual([])
})

test('pruning puts back what a section does not list, and looks at no section that is not there', async () => {
  await apply(file)
  expect(await apply('branding: {}')).toEqual([])
  expect(await apply('settings: { signUp: open }', { prune: true })).toEqual([
    { action: 'delete', kind: 'setting', id: 'emailSignIn', fields: { value: { from: 'on', to: null } } },
    { action: 'delete', kind: 'setting', id: 'decisionReceiptsPermitted', fields: { value: { from: 0.05, to: null } } },
    { action: 'delete', kind: 'setting', id: 'sessionTtlSeconds', fields: { value: { from: 7200, to: null } } },
  ])
  expect(await stored()).toEqual({ SIGN_UP: 'open', THEME_CSS: css })
  expect(await apply('apis: []', { prune: true })).toEqual([])
  expect(await apply('branding: {}', { prune: true })).toEqual([{ action: 'delete', kind: 'branding', id: 'css' }])
  expect(await stored()).toEqual({ SIGN_UP: 'open' })
})

test('a value that is the default is stored as well: another version may have another', async () => {
  expect(await apply('settings: { signUp: off }')).toHaveLength(1)
  expect(await apply('settings: { signUp: off }')).toEqual([])
  expect(await stored()).toEqual({ SIGN_UP: 'off' })
})

test('the sheet may lie beside the file, and is compared by what is in it', async () => {
  writeFileSync(join(folder, 'theme.css'), css)
  const named = 'branding: { cssFile: ./theme.css }'
  expect(await apply(named)).toHaveLength(1)
  expect(await stored()).toEqual({ THEME_CSS: css })
  expect(await apply(named)).toEqual([])
  writeFileSync(join(folder, 'theme.css'), css.replaceAll('\n', '\r\n'))
  expect(await apply(named)).toEqual([])
  writeFileSync(join(folder, 'theme.css'), 'a{}')
  expect(await apply(named)).toEqual([
    { action: 'update', kind: 'branding', id: 'css', fields: { text: { from: css, to: 'a{}' } } },
  ])
})

describe('refused, with the place in the file', () => {
  test.each([
    ['settings: { signUp: everybody }', 'settings.signUp (line 1) is "everybody", which is not known here'],
    ['settings: { sessionTtlSeconds: 10 }', 'settings.sessionTtlSeconds (line 1) must be'],
    ['settings: { sessionTtlSeconds: "7200" }', 'settings.sessionTtlSeconds (line 1) must be a number'],
    ['settings: { signUp: 1 }', 'settings.signUp (line 1) must be text'],
    ['settings: { SIGN_UP: open }', 'settings["SIGN_UP"] (line 1) is not a name known here'],
    ['settings: { secretKey: x }', 'settings.secretKey (line 1) is not a name known here'],
    ['settings: [open]', 'settings (line 1) must be name: value pairs'],
    ['branding: { css: "" }', 'branding.css (line 1) is empty'],
    ['branding: { css: "a{}", cssFile: ./theme.css }', 'branding.cssFile (line 1) stands beside css'],
    ['branding: { cssFile: ../secret.css }', 'branding.cssFile (line 1) leads out of the folder of this file'],
    ['branding: { cssFile: /etc/hostname }', 'branding.cssFile (line 1) leads out of the folder of this file'],
    ['branding: { cssFile: ./nowhere.css }', 'branding.cssFile (line 1) cannot be read (ENOENT)'],
    ['branding: { cssFile: ./bytes.css }', 'branding.cssFile (line 1) is not text in UTF-8'],
    ['branding: { cssFile: ./large.css }', 'branding.cssFile (line 1) must have at most 16384 characters'],
  ])('%s', (text, expected) => {
    writeFileSync(join(folder, 'bytes.css'), Buffer.from([0xff, 0xfe]))
    writeFileSync(join(folder, 'large.css'), 'x'.repeat(70_000))
    expect(refusals(text)).toEqual([expect.stringContaining(expected)])
  })

  test('a file that names a sheet is not applied without its folder', async () => {
    const declaration = parseDeclaration('branding: { cssFile: ./theme.css }')
    await expect(applyDeclaration(database, declaration, { prune: false, dryRun: false, ...change })).rejects.toThrow(
      'branding.cssFile is a file, and there are none here',
    )
  })
})

test('who applies it hears which of it waits behind their environment', async () => {
  const changes = noteOverridden(await apply(file), readConfig({ SIGN_UP: 'off', THEME_CSS: 'b{}' }))
  expect(changes.filter(({ note }) => note !== undefined).map(({ id, note }) => [id, note])).toEqual([
    ['signUp', expect.stringContaining('SIGN_UP is set in the environment')],
    ['css', expect.stringContaining('THEME_CSS is set in the environment')],
  ])
  expect(await stored()).toMatchObject({ SIGN_UP: 'open' })
})
