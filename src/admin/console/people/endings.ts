// What ends something of a person: each on a page that counts first what goes with it.
import { refuseBeyondPerson } from '#src/admin/bounds.ts'
import type { Db } from '#src/db/database.ts'
import { listFactors, resetFactors } from '#src/factors/second-factors.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { template } from '#src/http/render.ts'
import { countRevocation } from '#src/tokens/dry-run.ts'
import { endOtherSessions } from '#src/tokens/sessions.ts'
import { deleteUser, setUserDisabled, type UserRecord } from '#src/users/users.ts'
import { countLines } from '../counts.ts'
import { attempt, type ConsolePage, type ConsoleRequest, type Done, goOn, type PageDeps } from '../page.ts'
import { readPerson } from './read.ts'

export type EndingPage = {
  title: string
  text: string
  button: string
  back: { href: string; label: string }
  counts: readonly { label: string; count: number }[]
  more: boolean
  flaws: readonly unknown[]
}

const page = template<EndingPage>('admin/console/ending')

type Ending = {
  name: 'disable' | 'sign-out' | 'reset-factors' | 'delete'
  title: MessageKey
  text: MessageKey
  done: Done
  /** What is counted beside sessions and tokens. */
  factors?: boolean
  run(db: Db, user: UserRecord, request: ConsoleRequest): Promise<unknown>
}

const endings: readonly Ending[] = [
  {
    name: 'disable',
    title: 'console.people.disable.title',
    text: 'console.people.disable.text',
    done: 'disabled',
    run: (db, { id }, { change }) => setUserDisabled(db, id, true, change),
  },
  {
    name: 'sign-out',
    title: 'console.people.signOut.title',
    text: 'console.people.signOut.text',
    done: 'ended',
    run: (db, { id }, { change }) => endOtherSessions(db, { userId: id, uid: '' }, change),
  },
  {
    name: 'reset-factors',
    title: 'console.people.reset.title',
    text: 'console.people.reset.text',
    done: 'removed',
    factors: true,
    run: (db, { id }, { change }) => resetFactors(db, id, change),
  },
  {
    name: 'delete',
    title: 'console.people.delete.title',
    text: 'console.people.delete.text',
    done: 'deleted',
    factors: true,
    run: (db, { id }, { change }) => deleteUser(db, id, change),
  },
]

export const personEndings = (deps: PageDeps): ConsolePage[] => endings.map((ending) => endingPage(deps, ending))

function endingPage({ database: { prisma }, render }: PageDeps, ending: Ending): ConsolePage {
  return {
    path: `/admin/people/:id/${ending.name}`,
    section: 'people',
    scope: 'users:read',
    writes: 'users:write',
    sensitive: true,
    show: (request) => show(request, [], 200),

    async submit(request) {
      const user = await readPerson(prisma, request)
      await refuseBeyondPerson(request.bounds, prisma, user.id)
      const result = await attempt(() => ending.run(prisma, user, request))
      if (!result.ok) return show(request, result.flaws, result.status)
      goOn(request.ctx, ending.name === 'delete' ? '/admin/people' : `/admin/people/${user.id}`, ending.done)
    },
  }

  async function show(request: ConsoleRequest, flaws: readonly unknown[], status: number): Promise<void> {
    const { t } = request.words
    const user = await readPerson(prisma, request)
    const counts = await countRevocation(prisma, { kind: 'user', id: user.id })
    const person = user.name ?? user.email
    render(
      request,
      page,
      {
        title: t(ending.title, { person }),
        text: t(ending.text, { person }),
        button: t(ending.title, { person }),
        back: { href: `/admin/people/${user.id}`, label: person },
        counts: [
          ...(ending.factors
            ? [{ label: t('console.people.factors'), count: (await listFactors(prisma, user.id)).length }]
            : []),
          ...countLines(request.words, counts),
        ],
        more: counts.more,
        flaws,
      },
      { section: 'people', status },
    )
  }
}
