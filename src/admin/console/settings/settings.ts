// The configuration in force, in the order of config.ts: what the environment decides is shown, what may be stored is changed here, one form a
// group. Empty, or the first choice, takes away what is stored.
import { listClients } from '#src/clients/clients.ts'
import { type SettingInForce, type StoredSettings, settingGroups, storableSettings } from '#src/config.ts'
import { fingerprint } from '#src/editing.ts'
import type { Form } from '#src/http/form.ts'
import type { MessageKey, Translator } from '#src/http/i18n.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { changeSettings, describeSettings, listStored, type SettingPatch } from '#src/settings/settings.ts'
import { type Choice, choices } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, holds, type PageDeps } from '../page.ts'

export type SettingsPage = {
  seen: string
  groups: readonly {
    group: string
    name: string
    fields: readonly SettingField[]
    settings: readonly (SettingInForce & { shown: string | null })[]
  }[]
  schemes: readonly Choice[]
  clients: readonly Choice[]
  flaws: readonly Flaw[]
}

type SettingField = {
  name: string
  about: string
  kind: 'choice' | 'number' | 'lines'
  /** What is stored, or was typed. */
  value: string
  options: readonly Choice[]
  default: string
  stored: boolean
  /** Stored, and of no use to this version. */
  unusable: boolean
  error: string | undefined
  focus: boolean
}

/** What was sent and not taken. */
type Sent = { values: ReadonlyMap<string, string>; seen: string; flaws: readonly Flaw[] }

const page = template<SettingsPage>('admin/console/settings')
/** For the preview; any other can be named in its address. */
const mostClients = 100

const groupNames = {
  server: 'console.settings.server',
  storage: 'console.settings.storage',
  mail: 'console.settings.mail',
  people: 'console.settings.people',
  factors: 'console.settings.factors',
  sessions: 'console.settings.sessions',
  keys: 'console.settings.keys',
  limits: 'console.settings.limits',
  appearance: 'console.settings.appearance',
} as const satisfies Record<(typeof settingGroups)[number], MessageKey>

export function settingsPage({ config, database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    ...{ path: '/admin/settings', section: 'settings', scope: 'settings:read', writes: 'settings:write' },
    ...{
      sensitive: true,
      lines: [...storableSettings.values()].flatMap(({ name, kind }) => (kind === 'lines' ? [name] : [])),
    },
    show: (request) => show(request, undefined, 200),
    async submit(request, form) {
      const stored = await listStored(prisma)
      const { data } = describeSettings(config, stored)
      const values = readValues(form, data)
      const seen = form.get('seen') ?? ''
      const patch = patchOf(values, stored)
      const result = await attempt(() => changeSettings(prisma, config, patch, request.change, seen))
      if (!result.ok) return show(request, { values, seen, flaws: result.flaws }, result.status)
      goOn(request.ctx, '/admin/settings', 'saved')
    },
  }

  async function show(request: ConsoleRequest, sent: Sent | undefined, status: number): Promise<void> {
    const { t } = request.words
    const clients = holds(request.held, 'clients:read') ? await listClients(prisma, { limit: mostClients }) : []
    const stored = await listStored(prisma)
    const described = describeSettings(config, stored)
    const mayWrite = holds(request.held, 'settings:write')
    const isField = ({ editable }: SettingInForce) => editable && mayWrite
    const withField = new Set(described.data.filter(isField).map(({ name }) => name))
    const atFault = sent?.flaws.find(({ field }) => storableSettings.has(field))?.field
    render(
      request,
      page,
      {
        seen: sent?.seen ?? fingerprint(described),
        groups: settingGroups.map((group) => {
          const ofGroup = described.data.filter((setting) => setting.group === group).map(inPlainWords)
          return {
            ...{ group, name: t(groupNames[group]) },
            fields: ofGroup.filter(isField).map((setting) => fieldOf(request.words, setting, stored, sent, atFault)),
            settings: ofGroup
              .filter((setting) => !isField(setting))
              .map((setting) => ({ ...setting, shown: brief(request.words, setting.value) })),
          }
        }),
        schemes: choices(
          [
            ['light', t('console.settings.light')],
            ['dark', t('console.settings.dark')],
          ],
          undefined,
          t('console.settings.asDevice'),
        ),
        clients: choices(
          clients.map(({ id, name }) => [id, name]),
          undefined,
          t('console.settings.noClient'),
        ),
        // Those of a field stand beside it.
        flaws: sent?.flaws.filter(({ field }) => !withField.has(field)) ?? [],
      },
      { section: 'settings', status },
    )
  }
}

/** What of the form may be stored; a field that it does not have is left alone. */
function readValues(form: Form, settings: readonly SettingInForce[]): ReadonlyMap<string, string> {
  return new Map(
    settings.flatMap(({ name }) => {
      const text = storableSettings.has(name) ? form.get(name) : undefined
      return text === undefined
        ? []
        : [[name, storableSettings.get(name)?.kind === 'lines' ? text : text.trim()] as const]
    }),
  )
}

function patchOf(values: ReadonlyMap<string, string>, stored: StoredSettings): SettingPatch {
  const changed = [...values].filter(([name, text]) => (stored.get(name) ?? '') !== text)
  return Object.fromEntries(changed.map(([name, text]) => [name, text.trim() === '' ? null : text]))
}

function fieldOf(
  { t }: Translator,
  { name, about, source, stored: isStored }: SettingInForce,
  stored: StoredSettings,
  sent: Sent | undefined,
  atFault: string | undefined,
): SettingField {
  const { kind = 'number', choices: offered = [], default: usual = '' } = storableSettings.get(name) ?? {}
  const value = sent?.values.get(name) ?? stored.get(name) ?? ''
  const flaw = sent?.flaws.find(({ field }) => field === name)
  return {
    ...{ name, about, kind, value, default: usual, stored: isStored, unusable: isStored && source !== 'stored' },
    options: choices(
      offered.map((one) => [one, one]),
      value,
      t('console.settings.usual', { value: usual }),
    ),
    error: flaw && `${flaw.problem}. ${flaw.fix}`,
    focus: name === atFault,
  }
}

/** The sentences of config.ts are Markdown. */
const inPlainWords = (setting: SettingInForce): SettingInForce => ({
  ...setting,
  about: setting.about.replaceAll('`', ''),
})

/** A style sheet is not shown in a line. */
function brief({ t }: Translator, value: string | null): string | null {
  const isLong = value !== null && (value.length > 200 || value.includes('\n'))
  return isLong ? t('console.settings.characters', { count: value.length }) : value
}
