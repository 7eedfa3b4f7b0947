// What ends something of an application: each on a page that shows first what goes with it.
import { refuseBeyondClient } from '#src/admin/bounds.ts'
import { endClientTokens, setClientDisabled } from '#src/clients/clients.ts'
import { clientDependents, removeClient } from '#src/clients/editing.ts'
import { removeClientSecret, SecretNotFound } from '#src/clients/secrets.ts'
import { type ClientRecord, clientSettings } from '#src/clients/settings.ts'
import type { Db } from '#src/db/database.ts'
import { refuseDecision } from '#src/http/decision.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { template } from '#src/http/render.ts'
import { countRevocation } from '#src/tokens/dry-run.ts'
import { type ConsolePage, type ConsoleRequest, type Done, goOn, type PageDeps } from '../page.ts'
import { applicationsPath, hrefOf, readApplication } from './read.ts'

export type ApplicationEndingPage = {
  title: string
  text: string
  button: string
  back: { href: string; label: string }
  counts: readonly { label: string; count: number }[]
  more: boolean
}

const page = template<ApplicationEndingPage>('admin/console/application-ending')

type Ending = {
  path: string
  title: MessageKey
  text: MessageKey
  button: MessageKey
  done: Done
  /** Whether those that depend on it are counted beside what it got. */
  dependents?: true
  /** Whether nothing of what it got ends. */
  tokensStay?: true
  /** Below the application; '' is its own page. Undefined: the list. */
  leadsTo: string | undefined
  check?(record: ClientRecord, request: ConsoleRequest): void
  run(db: Db, id: string, request: ConsoleRequest): Promise<unknown>
}

const endings: readonly Ending[] = [
  {
    path: '/disable',
    title: 'console.applications.disable.title',
    text: 'console.applications.disable.text',
    button: 'console.applications.switchOff',
    done: 'disabled',
    leadsTo: '',
    run: (db, id, { change }) => setClientDisabled(db, id, true, change),
  },
  {
    path: '/end-tokens',
    title: 'console.applications.end.title',
    text: 'console.applications.end.text',
    button: 'console.applications.endTokens',
    done: 'ended',
    leadsTo: '',
    run: (db, id, { change }) => endClientTokens(db, id, change),
  },
  {
    path: '/delete',
    title: 'console.applications.delete.title',
    text: 'console.applications.delete.text',
    button: 'console.delete',
    done: 'deleted',
    dependents: true,
    leadsTo: undefined,
    run: (db, id, { change }) => removeClient(db, id, { cascade: true }, change),
  },
  {
    path: '/secrets/:secret',
    title: 'console.applications.retire.title',
    text: 'console.applications.retire.text',
    button: 'console.applications.retire.button',
    done: 'removed',
    tokensStay: true,
    leadsTo: '/secrets',
    check({ secrets }, { ctx }) {
      const secret = String(ctx.params.secret)
      if (!secrets.some(({ id }) => id === secret)) throw new SecretNotFound('It')
    },
    run: (db, id, { ctx, change }) => removeClientSecret(db, id, String(ctx.params.secret), change),
  },
]

export const applicationEndings = (deps: PageDeps): ConsolePage[] => endings.map((ending) => endingPage(deps, ending))

function endingPage({ database: { prisma }, render }: PageDeps, ending: Ending): ConsolePage {
  return {
    path: `/admin/applications/:id${ending.path}`,
    section: 'applications',
    scope: 'clients:write',
    sensitive: true,

    async show(request) {
      const { t } = request.words
      const record = await readApplication(prisma, request)
      ending.check?.(record, request)
      const { counts, more } = ending.tokensStay ? { counts: [], more: false } : await count(request, record.id)
      render(
        request,
        page,
        {
          title: t(ending.title, { name: record.name }),
          text: t(ending.text, { name: record.name }),
          button: t(ending.button),
          back: { href: hrefOf(record.id) + (ending.leadsTo ?? ''), label: record.name },
          counts,
          more,
        },
        { section: 'applications' },
      )
    },

    async submit(request, form) {
      if (form.get('decision') !== 'confirm') refuseDecision()
      const record = await readApplication(prisma, request)
      ending.check?.(record, request)
      await refuseBeyondClient(request.bounds, prisma, clientSettings(record))
      await ending.run(prisma, record.id, request)
      const to = ending.leadsTo === undefined ? applicationsPath : hrefOf(record.id) + ending.leadsTo
      goOn(request.ctx, to, ending.done)
    },
  }

  async function count(
    { words: { t } }: ConsoleRequest,
    id: string,
  ): Promise<Pick<ApplicationEndingPage, 'counts' | 'more'>> {
    const tokens = await countRevocation(prisma, { kind: 'client', id })
    const depend = ending.dependents ? await clientDependents(prisma, id) : {}
    return {
      counts: [
        ...Object.entries(depend).map(([kind, number]) => ({
          label: t(dependentWords[kind as keyof typeof dependentWords]),
          count: number,
        })),
        { label: t('console.count.accessTokens'), count: tokens.accessTokens },
        { label: t('console.count.refreshTokens'), count: tokens.refreshTokens },
      ],
      more: tokens.more,
    }
  }
}

/** The kinds of clientDependents. */
const dependentWords = {
  people: 'console.applications.count.people',
  apiKeys: 'console.applications.count.apiKeys',
  apis: 'console.applications.count.apis',
} as const satisfies Record<string, MessageKey>
