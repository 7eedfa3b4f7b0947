// What of the configuration is stored: read by every process when the configuration's version moves, changed by operators. Which variables may
// be stored and what a value may be is said in config.ts; the environment goes before what is here, and that before the default.
//
//   change: is every value good, and not the environment's -> lock (the configuration's version) -> is it what the editor saw -> rows -> record
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import {
  type Config,
  problemOf,
  type SettingInForce,
  type StorableSetting,
  type StoredSettings,
  settingsWith,
  storableSettings,
  withStored,
} from '#src/config.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Database, Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { refuseChanged } from '#src/editing.ts'
import { checkOneOf, type Flaw, quote, Refusal } from '#src/refusal.ts'

/** What a process was started with. */
type Environment = Pick<Config, 'inForce' | 'fromEnvironment'>

/** By the name of the variable; null takes away what is stored. */
export type SettingPatch = Readonly<Record<string, string | number | null>>

export class InvalidSettings extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

/** Every process asks at its start and at every change: in plain SQL (docs/decisions/016). */
export async function readSettings({ pool }: Pick<Database, 'pool'>): Promise<StoredSettings> {
  const { rows } = await pool.query<{ name: string; value: string }>({
    name: 'settings',
    text: 'SELECT name, value FROM setting',
  })
  return new Map(rows.map(({ name, value }) => [name, value]))
}

/** For whoever asks now and then: commands, jobs. A server follows what is stored (`followStored`). */
export const readConfigInForce = async (database: Pick<Database, 'pool'>, config: Config): Promise<Config> =>
  withStored(config, await readSettings(database))

/** As readSettings, in a transaction. */
export async function listStored(db: Db): Promise<StoredSettings> {
  const rows = await db.setting.findMany({ select: { name: true, value: true } })
  return new Map(rows.map(({ name, value }) => [name, value]))
}

/** What an operator is shown: the whole configuration, as it is in force once every process has followed. */
export const describeSettings = (config: Environment, stored: StoredSettings): { data: readonly SettingInForce[] } => ({
  data: settingsWith(config, stored).inForce,
})

/** All or nothing. What the environment decides is refused, as it would change nothing; taking away what is stored behind it is not.
 *  @param seen the fingerprint of what the editor saw of describeSettings. @returns what is stored now.
 *  @throws InvalidSettings, ChangedMeanwhile */
export function changeSettings(
  db: Db,
  config: Environment,
  patch: SettingPatch,
  change: Change,
  seen?: string,
): Promise<StoredSettings> {
  return atomically(db, async (tx) => {
    const flaws = Object.entries(patch).flatMap(([name, value]) => [
      ...checkSetting(name, value, isVariable(config, name)),
      ...(value === null ? [] : refuseOverridden(config, name)),
    ])
    if (flaws.length > 0) throw new InvalidSettings(flaws)
    await raiseConfigurationVersion(tx, change.now) // its row is the lock of every change of the configuration
    const before = await listStored(tx)
    refuseChanged(seen, describeSettings(config, before))
    return store(tx, before, patch, change)
  })
}

/** For whoever states them without knowing the environments of the servers: the declarative file. @throws InvalidSettings */
export function storeSettings(db: Db, patch: SettingPatch, change: Change): Promise<StoredSettings> {
  return atomically(db, async (tx) => {
    const flaws = Object.entries(patch).flatMap(([name, value]) => checkSetting(name, value))
    if (flaws.length > 0) throw new InvalidSettings(flaws)
    await raiseConfigurationVersion(tx, change.now)
    return store(tx, await listStored(tx), patch, change)
  })
}

/** @param known it is a variable, if not one that may be stored. @returns flaws whose field is the name. */
export function checkSetting(name: string, value: string | number | null, known = false): Flaw[] {
  const setting = storableSettings.get(name)
  const field = setting || known ? name : quote(name)
  if (!setting)
    return known
      ? [
          {
            field,
            problem: 'is decided by the environment alone',
            fix: 'Set the variable where the server is started, and start it again.',
          },
        ]
      : [{ field, problem: 'is no setting here', fix: 'Take a name from the list of settings.' }]
  if (value === null) return []
  const text = canonical(setting, value)
  if (text === '')
    return [{ field, problem: 'is empty', fix: 'Write a value, or take away what is stored: null, or unset.' }]
  if (setting.kind === 'choice') return checkOneOf(field, text, setting.choices)
  const problem = problemOf(name, text)
  return problem === undefined ? [] : [{ field, problem, fix: hintOf(setting) }]
}

/** One text for one value: `007` is 7, and line breaks are one character. */
export function canonical({ name, kind }: StorableSetting, value: string | number): string {
  const text = String(value)
  if (kind === 'lines') return text.replace(/\r\n?/g, '\n')
  return kind === 'number' && problemOf(name, text) === undefined ? String(Number(text)) : text
}

async function store(
  tx: Prisma.TransactionClient,
  before: StoredSettings,
  patch: SettingPatch,
  change: Change,
): Promise<StoredSettings> {
  const after = new Map(before)
  const changes: string[] = []
  const names: string[] = []
  for (const [name, setting] of storableSettings) {
    const value = Object.hasOwn(patch, name) ? patch[name] : undefined
    if (value === undefined) continue
    const text = value === null ? undefined : canonical(setting, value)
    if (text === before.get(name)) continue
    if (text === undefined) {
      after.delete(name)
      await tx.setting.delete({ where: { name } })
    } else {
      after.set(name, text)
      const row = { value: text, updatedAt: change.now }
      await tx.setting.upsert({ where: { name }, create: { name, ...row }, update: row })
    }
    names.push(name)
    changes.push(`${name}: ${inRecord(setting, before.get(name))} -> ${inRecord(setting, text)}`)
  }
  if (names.length > 0)
    await recordAudit(
      tx,
      { event: 'setting.changed', outcome: 'success', actor: change.actor, detail: { names, changes } },
      change.origin,
    )
  return after
}

/** A sheet would fill the record. */
function inRecord({ kind }: StorableSetting, text: string | undefined): string {
  if (text === undefined) return 'not stored'
  return kind === 'lines' ? `${text.length} characters` : text
}

const isVariable = (config: Environment, name: string): boolean =>
  config.inForce.some((setting) => setting.name === name)

function refuseOverridden({ fromEnvironment }: Environment, name: string): Flaw[] {
  if (!Object.hasOwn(fromEnvironment, name)) return []
  return [
    {
      field: name,
      problem: 'is set by the environment of the server, which goes before what is stored',
      fix: 'Remove the variable there and start the server again, or change it there.',
    },
  ]
}

const hintOf = ({ default: usual }: StorableSetting): string =>
  usual === undefined ? 'Write less, or something else.' : `The default is ${usual}.`
