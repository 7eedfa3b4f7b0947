// What every page of the console is made of: who looks at it, what they hold, the frame around it, and the ways it answers. The pages
// call the same rooms as the admin API does; nothing can be done here that cannot be done there.
import type { Context } from 'koa'
import type { DecideDeps } from '#src/access/decide.ts'
import type { AdminApiDeps } from '#src/admin/api/route.ts'
import type { Bounds } from '#src/admin/bounds.ts'
import type { Change } from '#src/audit/change.ts'
import type { Config } from '#src/config.ts'
import type { Database } from '#src/db/database.ts'
import type { Form } from '#src/http/form.ts'
import type { MessageKey, Translator } from '#src/http/i18n.ts'
import type { Renderer, Template } from '#src/http/render.ts'
import { allowFetch } from '#src/http/security-headers.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import type { Visitor, Visitors } from '#src/oauth/visitors.ts'
import { type Flaw, Refusal } from '#src/refusal.ts'
import type { UserRecord } from '#src/users/users.ts'

export type ConsoleDeps = {
  config: Config
  database: Database
  renderer: Renderer
  secretKeys: SecretKeys
  doors: Bounds['doors']
  /** Those in force. */
  policiesOf: DecideDeps['policiesOf']
  /** Of the requests that this process answered, where somebody counts them. */
  /** The gate's own matcher. */
  whichRoute: AdminApiDeps['whichRoute']
  latency?: (() => Promise<Latency | undefined>) | undefined
  now: () => Date
}

export type Latency = Readonly<{ requests: number; medianSeconds: number; slowSeconds: number }>

/** A request of somebody who came through both doors. */
export type ConsoleRequest = {
  ctx: Context
  visitor: Visitor
  person: UserRecord
  words: Translator
  csrf: string
  now: Date
  /** The scopes of our own API that the person holds at this moment. */
  held: ReadonlySet<string>
  /** For `refuseBeyond…`: nobody hands out what they lack. */
  bounds: Bounds
  change: Change
}

export type ConsolePage = {
  /** An address of its own: forms post to where they were shown. */
  path: string
  section: Section
  /** A scope of our own API, to see it. `any`: whoever holds one at all. */
  scope: string
  /** To send its form; needed where there is one. */
  writes?: string
  /** Its form asks for a sign-in that is at most five minutes old (ASVS 7.5.1). */
  sensitive?: boolean
  /** Fields of its form that may occur more than once: checkboxes. */
  repeatable?: readonly string[]
  /** Fields that hold text of several lines. */
  lines?: readonly string[]
  /** Bytes of its form, where it may hold more than others. */
  formLimit?: number
  show?(request: ConsoleRequest): Promise<void>
  submit?(request: ConsoleRequest, form: Form): Promise<void>
}

/** In the order of the menu, which shows those that have a page and whose scope the person holds. */
export const sections = {
  overview: { path: '/admin', icon: 'home', scope: 'any' },
  people: { path: '/admin/people', icon: 'people', scope: 'users:read' },
  applications: { path: '/admin/applications', icon: 'grid', scope: 'clients:read' },
  apis: { path: '/admin/apis', icon: 'cube', scope: 'apis:read' },
  routes: { path: '/admin/routes', icon: 'route', scope: 'routes:read' },
  roles: { path: '/admin/roles', icon: 'shield', scope: 'roles:read' },
  relations: { path: '/admin/relations', icon: 'link', scope: 'relations:read' },
  policies: { path: '/admin/policies', icon: 'scroll', scope: 'policies:read' },
  tokens: { path: '/admin/tokens', icon: 'tree', scope: 'tokens:read' },
  keys: { path: '/admin/keys', icon: 'passkey', scope: 'keys:read' },
  webhooks: { path: '/admin/webhooks', icon: 'hook', scope: 'webhooks:read' },
  mails: { path: '/admin/mails', icon: 'mail', scope: 'settings:read' },
  audit: { path: '/admin/audit', icon: 'clock', scope: 'audit:read' },
  checkup: { path: '/admin/checkup', icon: 'pulse', scope: 'checkup:read' },
  settings: { path: '/admin/settings', icon: 'gear', scope: 'settings:read' },
} as const satisfies Record<string, { path: string; icon: string; scope: string }>
export type Section = keyof typeof sections

/** What a page may say was done, by the value of `done` in its address: nothing else of an address is ever shown. */
const doneMessages = {
  created: 'console.done.created',
  saved: 'console.done.saved',
  deleted: 'console.done.deleted',
  disabled: 'console.done.disabled',
  enabled: 'console.done.enabled',
  ended: 'console.done.ended',
  revoked: 'console.done.revoked',
  rotated: 'console.done.rotated',
  lifted: 'console.done.lifted',
  removed: 'console.done.removed',
  sent: 'console.done.sent',
  hurried: 'console.done.hurried',
  asked: 'console.done.asked',
} as const satisfies Record<string, MessageKey>
export type Done = keyof typeof doneMessages

type Frame = {
  nav: readonly { href: string; label: string; icon: string; current: boolean }[]
  signedInAs: string
  initial: string
  csrf: string
  action: string
  done: string | undefined
  /** Whether the person may send what the page offers. */
  may(scope: string): boolean
}

/** @param options.sections those that have pages. */
export function createConsoleRenderer(renderer: Renderer, options: { sections: ReadonlySet<Section> }) {
  return <Data extends object>(
    { ctx, person, words, csrf, held }: ConsoleRequest,
    page: Template<Data>,
    data: Data,
    { section, status = 200 }: { section: Section; status?: number },
  ): void => {
    allowFetch(ctx) // htmx reads lists again while somebody types
    const { t } = words
    const done = String(ctx.query.done ?? '')
    const frame: Frame = {
      nav: (Object.keys(sections) as Section[])
        .filter((name) => options.sections.has(name) && holds(held, sections[name].scope))
        .map((name) => ({
          href: sections[name].path,
          label: t(`console.${name}.title`),
          icon: sections[name].icon,
          current: name === section,
        })),
      signedInAs: person.email,
      initial: [...(person.name ?? person.email)][0] ?? '',
      csrf,
      action: ctx.path,
      done: ctx.method === 'GET' && Object.hasOwn(doneMessages, done) ? t(doneMessages[done as Done]) : undefined,
      may: (scope) => holds(held, scope),
    }
    renderer.renderPage(
      ctx,
      page,
      { ...frame, ...data },
      { status, uiLocales: person.locale ? [person.locale] : [], languageSwitch: true },
    )
  }
}

export type ConsoleRenderer = ReturnType<typeof createConsoleRenderer>
/** What a page is made with. */
export type PageDeps = ConsoleDeps & { render: ConsoleRenderer; visitors: Pick<Visitors, 'impersonate'> }

export const holds = (held: ReadonlySet<string>, scope: string): boolean =>
  scope === 'any' ? held.size > 0 : held.has(scope)

/** After a form: to a page that can be loaded again without doing it again. */
export function goOn(ctx: Context, path: string, done?: Done): void {
  ctx.set('Location', done ? `${path}${path.includes('?') ? '&' : '?'}done=${done}` : path)
  ctx.set('Cache-Control', 'no-store')
  ctx.body = null
  ctx.status = 303
}

/** Does what a form asks for. What the room refuses comes back to be shown beside the form, which keeps what was typed; that a thing is
 *  not there stays a 404. The rooms' sentences are in English, as they are in the API and in the log. */
export async function attempt<Result>(
  run: () => Promise<Result>,
): Promise<{ ok: true; value: Result } | { ok: false; status: 409 | 422; flaws: readonly Flaw[] }> {
  try {
    return { ok: true, value: await run() }
  } catch (error) {
    if (!(error instanceof Refusal) || error.kind === 'missing') throw error
    return { ok: false, status: error.kind === 'invalid' ? 422 : 409, flaws: error.flaws }
  }
}
