// Applications, found among ten thousand by a part of their name or id.
import { searchClients } from '#src/clients/editing.ts'
import { clientIdPattern } from '#src/clients/settings.ts'
import { clientTypes } from '#src/clients/types.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { type Choice, choices, cut, oneOf, textOf } from '../lists.ts'
import type { ConsolePage, PageDeps } from '../page.ts'
import { applicationsPath, hrefOf, typeOf, typeWords } from './read.ts'

export type ApplicationsPage = {
  q: string
  types: readonly Choice[]
  states: readonly Choice[]
  applications: readonly {
    href: string
    id: string
    name: string
    kind: string
    disabled: boolean
    since: Moment
  }[]
  next: string | undefined
}

const page = template<ApplicationsPage>('admin/console/applications')
const perPage = 25

export function applicationsPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: applicationsPath,
    section: 'applications',
    scope: 'clients:read',
    async show(request) {
      const { ctx, words, now, person } = request
      const { t } = words
      const q = textOf(ctx, 'q', 128)
      const type = oneOf(ctx, 'type', clientTypes)
      const state = oneOf(ctx, 'state', ['active', 'disabled'])
      const after = textOf(ctx, 'after', 128)
      const found = await searchClients(
        prisma,
        { q: q || undefined, type, disabled: state && state === 'disabled' },
        { after: clientIdPattern.test(after) ? after : undefined, limit: perPage + 1 },
      )
      const { rows, next } = cut(ctx, found, perPage, ({ id }) => id)
      render(
        request,
        page,
        {
          q,
          types: choices(
            clientTypes.map((name) => [name, t(typeWords[name])]),
            type,
            t('console.any'),
          ),
          states: choices(
            [
              ['active', t('console.applications.on')],
              ['disabled', t('console.applications.off')],
            ],
            state,
            t('console.any'),
          ),
          applications: rows.map((record) => ({
            href: hrefOf(record.id),
            id: record.id,
            name: record.name,
            kind: t(typeWords[typeOf(record)]),
            disabled: record.disabledAt !== null,
            since: moment(words, record.createdAt, now, person.zoneinfo),
          })),
          next,
        },
        { section: 'applications' },
      )
    },
  }
}
