// The configuration that this process runs with, in the order of config.ts. Nothing here changes it: it comes from the environment.
import { listClients } from '#src/clients/clients.ts'
import { type SettingInForce, settingGroups } from '#src/config.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { template } from '#src/http/render.ts'
import { type Choice, choices } from '../lists.ts'
import { type ConsolePage, holds, type PageDeps } from '../page.ts'

export type SettingsPage = {
  groups: readonly { name: string; settings: readonly SettingInForce[] }[]
  schemes: readonly Choice[]
  clients: readonly Choice[]
}

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
    path: '/admin/settings',
    section: 'settings',
    scope: 'settings:read',
    async show(request) {
      const { t } = request.words
      const clients = holds(request.held, 'clients:read') ? await listClients(prisma, { limit: mostClients }) : []
      render(
        request,
        page,
        {
          groups: settingGroups.map((group) => ({
            name: t(groupNames[group]),
            settings: config.inForce
              .filter((setting) => setting.group === group)
              .map((setting) => ({ ...setting, about: setting.about.replaceAll('`', '') })),
          })),
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
        },
        { section: 'settings' },
      )
    },
  }
}
