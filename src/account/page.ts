// What every account page is made of: who looks at it, the frame around it, and the two ways it answers.
import type { Context } from 'koa'
import type { z } from 'zod'
import type { Change } from '#src/audit/change.ts'
import type { Config } from '#src/config.ts'
import type { Database, Db } from '#src/db/database.ts'
import type { OutOfBandTransport } from '#src/factors/out-of-band.ts'
import type { RelyingParty } from '#src/factors/passkey.ts'
import type { Form } from '#src/http/form.ts'
import type { MessageKey, Translator } from '#src/http/i18n.ts'
import type { KnownDevices } from '#src/http/known-device.ts'
import type { Renderer, Template } from '#src/http/render.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import type { Notice } from '#src/mail/letters.ts'
import { queueNotice } from '#src/mail/notices.ts'
import type { RememberedDevices } from '#src/oauth/remembered-devices.ts'
import type { Visitor } from '#src/oauth/visitors.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import type { UserRecord } from '#src/users/users.ts'

export type AccountDeps = {
  config: Pick<Config, 'sessionIdleTtlSeconds' | 'accountDeletionGraceDays' | 'issuerUrl' | 'apiKeys'>
  database: Database
  renderer: Renderer
  secretKeys: SecretKeys
  /** Browsers in which the person has signed in count their guesses apart. */
  devices: KnownDevices
  remembered: RememberedDevices
  /** Where passkeys are valid. */
  relyingParty: RelyingParty
  /** Undefined: nothing is sent to phones. */
  outOfBand: OutOfBandTransport | undefined
  now: () => Date
}

/** A request of somebody who is signed in. Whatever a page shows or changes is this person's. */
export type AccountRequest = {
  ctx: Context
  visitor: Visitor
  person: UserRecord
  /** Of the person, when this request's session was found good. What ended their sessions since then ended what it may do. */
  generation: number | null
  words: Translator
  csrf: string
  now: Date
}

export type AccountPage = {
  /** An address of its own: forms post to where they were shown. */
  path: string
  section: Section
  /** Asks for a sign-in that is at most five minutes old (ASVS 7.5.1), before it shows and before it does anything. */
  sensitive?: boolean
  /** Fields of its form that may occur more than once: checkboxes. */
  repeatable?: readonly string[]
  show?(request: AccountRequest): Promise<void>
  submit?(request: AccountRequest, form: Form): Promise<void>
  /** In place of a form: what a script sends as JSON, read by this shape, which names the field `csrf`. */
  json?: JsonPart
}

export type JsonPart = {
  shape: z.ZodType<{ csrf: string } & Record<string, unknown>>
  submit(request: AccountRequest, body: Record<string, unknown>): Promise<void>
}

const sections = {
  overview: { path: '/account', icon: 'home' },
  profile: { path: '/account/profile', icon: 'person' },
  security: { path: '/account/security', icon: 'shield' },
  sessions: { path: '/account/sessions', icon: 'monitor' },
  applications: { path: '/account/applications', icon: 'grid' },
  apiKeys: { path: '/account/api-keys', icon: 'passkey' },
  activity: { path: '/account/activity', icon: 'clock' },
  data: { path: '/account/data', icon: 'archive' },
} as const
export type Section = keyof typeof sections

/** What a page may say was done, by the value of `done` in its address: nothing else of an address is ever shown. */
const doneMessages = {
  profile: 'account.done.profile',
  password: 'account.done.password',
  session: 'account.done.session',
  sessions: 'account.done.sessions',
  application: 'account.done.application',
  email: 'account.done.email',
  factor: 'account.done.factor',
  first: 'account.done.first',
  renamed: 'account.done.renamed',
  removed: 'account.done.removed',
  forgotten: 'account.done.forgotten',
  lifted: 'account.done.lifted',
  apiKey: 'account.done.apiKey',
} as const satisfies Record<string, MessageKey>
type Done = keyof typeof doneMessages

type Frame = {
  nav: readonly { href: string; label: string; icon: string; current: boolean }[]
  person: string
  initial: string
  csrf: string
  action: string
  done: string | undefined
}

/** @param request.section what the menu marks. */
export function renderAccount<Data extends object>(
  renderer: Renderer,
  { ctx, person, words, csrf }: AccountRequest,
  page: Template<Data>,
  data: Data,
  options: { section: Section; status?: number },
): void {
  const { t } = words
  const done = String(ctx.query.done ?? '')
  const frame: Frame = {
    nav: (Object.keys(sections) as Section[]).map((name) => ({
      href: sections[name].path,
      label: t(`account.${name}.title`),
      icon: sections[name].icon,
      current: name === options.section,
    })),
    person: person.email,
    initial: [...(person.name ?? person.email)][0] ?? '',
    csrf,
    action: ctx.path,
    done: ctx.method === 'GET' && Object.hasOwn(doneMessages, done) ? t(doneMessages[done as Done]) : undefined,
  }
  renderer.renderPage(
    ctx,
    page,
    { ...frame, ...data },
    { status: options.status ?? 200, uiLocales: localesOf(person), languageSwitch: true },
  )
}

export function localesOf(person: UserRecord): string[] {
  return person.locale ? [person.locale] : []
}

/** After a form: to a page that can be loaded again without doing it again. */
export function goOn(ctx: Context, path: string, done?: Done): void {
  ctx.set('Location', done ? `${path}?done=${done}` : path)
  ctx.set('Cache-Control', 'no-store')
  ctx.body = null
  ctx.status = 303
}

/** Tells the person by mail what was done, in the transaction that did it. */
export function notify(
  { secretKeys }: Pick<AccountDeps, 'secretKeys'>,
  tx: Db,
  { person, now }: AccountRequest,
  what: Notice,
): Promise<void> {
  return queueNotice(tx, what, person, currentUnit().origin, { secretKeys, now })
}

/** What the person changes, they change by themselves. */
export function changeBy({ person, now }: AccountRequest): Change {
  return { now, actor: { kind: 'user', id: person.id }, origin: currentUnit().origin }
}
