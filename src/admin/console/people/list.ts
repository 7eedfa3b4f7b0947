// People, found among a million by the beginning of an address or a name, the newest first.
import { listRoleNames } from '#src/access/roles.ts'
import { readAfter } from '#src/admin/api/page.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { searchUsers } from '#src/users/search.ts'
import { addressOfNext, type Choice, choices, oneOf, textOf } from '../lists.ts'
import type { ConsolePage, PageDeps } from '../page.ts'

export type PeoplePage = {
  q: string
  roles: readonly Choice[]
  states: readonly Choice[]
  people: readonly {
    href: string
    name: string | null
    email: string
    verified: boolean
    disabled: boolean
    roles: readonly string[]
    since: Moment
  }[]
  next: string | undefined
}

const people = template<PeoplePage>('admin/console/people')
const perPage = 25

export function peoplePage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/people',
    section: 'people',
    scope: 'users:read',
    async show(request) {
      const { ctx, words, now, person } = request
      const q = textOf(ctx, 'q')
      const state = oneOf(ctx, 'state', ['active', 'disabled'])
      const role = textOf(ctx, 'role')
      const { users, next } = await searchUsers(
        prisma,
        { q: q || undefined, role: role || undefined, disabled: state && state === 'disabled' },
        { after: readAfter(textOf(ctx, 'after') || undefined), limit: perPage, newestFirst: true },
      )
      render(
        request,
        people,
        {
          q,
          roles: choices(
            (await listRoleNames(prisma)).map((name) => [name, name]),
            role,
            words.t('console.any'),
          ),
          states: choices(
            [
              ['active', words.t('console.people.active')],
              ['disabled', words.t('console.people.disabled')],
            ],
            state,
            words.t('console.any'),
          ),
          people: users.map((user) => ({
            href: `/admin/people/${user.id}`,
            name: user.name,
            email: user.email,
            verified: user.emailVerifiedAt !== null,
            disabled: user.disabledAt !== null,
            roles: user.roles.map(({ roleName }) => roleName),
            since: moment(words, user.createdAt, now, person.zoneinfo),
          })),
          next: next === null ? undefined : addressOfNext(ctx, next),
        },
        { section: 'people' },
      )
    },
  }
}
