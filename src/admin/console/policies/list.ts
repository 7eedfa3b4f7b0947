// Policies, by API and name.
import { listPolicies } from '#src/access/policies/policies.ts'
import { readAfter } from '#src/admin/api/page.ts'
import { listApis } from '#src/apis/apis.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { type Choice, choices, cut, textOf } from '../lists.ts'
import type { ConsolePage, PageDeps } from '../page.ts'

export type PoliciesPage = {
  apis: readonly Choice[]
  policies: readonly {
    href: string
    name: string
    description: string
    api: string
    effect: string
    enforced: boolean
    version: number
    at: Moment
  }[]
  next: string | undefined
}

const page = template<PoliciesPage>('admin/console/policies')
const perPage = 25

export function policiesPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/policies',
    section: 'policies',
    scope: 'policies:read',
    async show(request) {
      const { ctx, words, now, person } = request
      const api = textOf(ctx, 'api', 512)
      const apis = (await listApis(prisma, { limit: 200 })).filter(({ builtIn }) => !builtIn)
      const found = await listPolicies(prisma, {
        apiIdentifier: api || undefined,
        after: readAfter(textOf(ctx, 'after') || undefined),
        limit: perPage + 1,
      })
      const { rows, next } = cut(ctx, found, perPage, ({ id }) => id)
      render(
        request,
        page,
        {
          apis: choices(
            apis.map(({ identifier, name }) => [identifier, name]),
            api,
            words.t('console.any'),
          ),
          policies: rows.map(({ id, name, description, apiIdentifier, effect, state, version, updatedAt }) => ({
            href: `/admin/policies/${id}`,
            ...{ name, description, effect, version },
            api: apis.find(({ identifier }) => identifier === apiIdentifier)?.name ?? apiIdentifier,
            enforced: state === 'enforced',
            at: moment(words, updatedAt, now, person.zoneinfo),
          })),
          next,
        },
        { section: 'policies' },
      )
    },
  }
}
