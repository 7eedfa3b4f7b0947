// The sections `settings` and `branding`: what of the configuration is stored (src/settings/). A file does not know the environments of the
// servers that it is applied to, so a value that one of them overrides is stored all the same, and waits (docs/decisions/052).
import { isUtf8 } from 'node:buffer'
import { z } from 'zod'
import { type Config, type StorableSetting, type StoredSettings, storableSettings } from '#src/config.ts'
import type { Db } from '#src/db/database.ts'
import type { Flaw } from '#src/refusal.ts'
import { canonical, checkSetting, listStored, storeSettings } from '#src/settings/settings.ts'
import { checkBeside, readBeside } from '../beside.ts'
import { InvalidDeclaration } from '../errors.ts'
import { withLines, withLinesOf } from '../lines.ts'
import type { PlannedChange, Step } from '../steps.ts'

type Place = { section: 'settings' | 'branding'; key: string; setting: StorableSetting }

/** SIGN_UP is `signUp`; of what people see, the sheet. In the order of config.ts. */
const places: readonly Place[] = [...storableSettings.values()].map((setting) =>
  setting.name === 'THEME_CSS'
    ? { section: 'branding', key: 'css', setting }
    : {
        section: 'settings',
        key: setting.name.toLowerCase().replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
        setting,
      },
)
const placesOf = (section: Place['section']) => places.filter((place) => place.section === section)
const kinds = { settings: 'setting', branding: 'branding' } as const

type Section = Readonly<Record<string, string | number | undefined>>

export const settingsSection = z.strictObject(
  Object.fromEntries(
    placesOf('settings').map(({ key, setting }) => [
      key,
      (setting.kind === 'number' ? z.number() : z.string()).optional() as z.ZodType<string | number | undefined>,
    ]),
  ),
)

export const brandingSection = z.strictObject({
  css: z.string().optional(),
  /** The sheet, beside the declarative file. */
  cssFile: z.string().optional(),
})

type Declared = { settings?: Section | undefined; branding?: z.infer<typeof brandingSection> | undefined }

export function checkDeclaredSettings(declaration: Declared): Flaw[] {
  const { css, cssFile } = declaration.branding ?? {}
  const flaws = listed(declaration).flatMap(({ section, key, setting, value }) =>
    checkSetting(setting.name, value).map(({ problem, fix }) => ({ field: `${section}.${key}`, problem, fix })),
  )
  if (cssFile === undefined) return flaws
  if (css !== undefined)
    flaws.push({ field: 'branding.cssFile', problem: 'stands beside css', fix: 'Keep one of the two.' })
  return [...flaws, ...checkBeside('branding.cssFile', cssFile)]
}

/** The sheet that the file names, read. @param folder where the file lies. @throws InvalidDeclaration */
export function expandBranding<Whole extends Parameters<typeof withLinesOf>[0]>(
  declaration: Whole,
  folder: string,
): Whole {
  const path = declaration.branding?.cssFile
  if (path === undefined) return declaration
  const field = 'branding.cssFile'
  const refuse = (flaws: Flaw[]) => {
    if (flaws.length > 0) throw new InvalidDeclaration(withLines(declaration, flaws))
  }
  refuse(checkBeside(field, path))
  const read = readBeside(field, { folder, path, mostBytes: 65_536 })
  if ('flaws' in read) return refuse(read.flaws) as never
  if (!isUtf8(read.bytes)) refuse([{ field, problem: 'is not text in UTF-8', fix: 'Save it as such.' }])
  const css = read.bytes.toString('utf8')
  refuse(checkSetting('THEME_CSS', css).map((flaw) => ({ ...flaw, field })))
  return withLinesOf(declaration, { ...declaration, branding: { css } })
}

/** @throws InvalidDeclaration where the sheet was not read. */
export async function compareSettings(db: Db, declaration: Declared, { prune }: { prune: boolean }): Promise<Step[]> {
  if (!declaration.settings && !declaration.branding) return []
  if (declaration.branding?.cssFile !== undefined)
    throw new InvalidDeclaration([
      {
        field: 'branding.cssFile',
        problem: 'is a file, and there are none here',
        fix: 'Apply it with: sallyport apply --file FILE.',
      },
    ])
  const stored = await listStored(db)
  const steps = listed(declaration).flatMap((one) => compareOne(one, stored))
  const keep = new Set(listed(declaration).map(({ setting }) => setting.name))
  const gone = places.filter(
    ({ section, setting: { name } }) => prune && declaration[section] && stored.has(name) && !keep.has(name),
  )
  return [
    ...steps,
    ...gone.map(({ section, key, setting: { name, kind } }): Step => {
      const fields =
        kind === 'lines' ? {} : { fields: { value: { from: written(kind, stored.get(name) ?? ''), to: null } } }
      const run: Step['run'] = (tx, change) => storeSettings(tx, { [name]: null }, change)
      return { action: 'delete', kind: kinds[section], id: key, ...fields, run }
    }),
  ]
}

/** In the order of config.ts, numbers as numbers. What this version cannot use is left out: it could not be applied. */
export async function exportSettings(db: Db): Promise<{ settings: Section; branding: Section }> {
  const stored = await listStored(db)
  const write = (section: Place['section']) =>
    Object.fromEntries(
      placesOf(section).flatMap(({ key, setting: { name, kind } }) => {
        const text = stored.get(name)
        return text === undefined || checkSetting(name, text).length > 0 ? [] : [[key, written(kind, text)]]
      }),
    )
  return { settings: write('settings'), branding: write('branding') }
}

/** What is stored, and will not be in force where the environment is this one. */
export function noteOverridden(
  changes: readonly PlannedChange[],
  { fromEnvironment }: Pick<Config, 'fromEnvironment'>,
): PlannedChange[] {
  return changes.map((change) => {
    const place = places.find(({ section, key }) => kinds[section] === change.kind && key === change.id)
    if (!place || change.action === 'delete' || !Object.hasOwn(fromEnvironment, place.setting.name)) return change
    return { ...change, note: `${place.setting.name} is set in the environment here, and goes before what is stored` }
  })
}

function compareOne({ section, key, setting, value }: Place & { value: string | number }, stored: StoredSettings) {
  const { name, kind } = setting
  const text = canonical(setting, value)
  const before = stored.get(name)
  if (before === text) return []
  const nothing = kind === 'lines' ? '' : null
  const from = before === undefined ? nothing : written(kind, before)
  const step: Step = {
    action: before === undefined ? 'create' : 'update',
    kind: kinds[section],
    id: key,
    fields: { [kind === 'lines' ? 'text' : 'value']: { from, to: written(kind, text) } },
    run: (tx, change) => storeSettings(tx, { [name]: text }, change),
  }
  return [step]
}

/** What the file says something about. */
function listed(declaration: Declared): (Place & { value: string | number })[] {
  return places.flatMap((place) => {
    const section: Section = declaration[place.section] ?? {}
    const value = Object.hasOwn(section, place.key) ? section[place.key] : undefined
    return value === undefined ? [] : [{ ...place, value }]
  })
}

const written = (kind: StorableSetting['kind'], text: string): string | number =>
  kind === 'number' && Number.isFinite(Number(text)) ? Number(text) : text
