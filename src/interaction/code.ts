// The page that asks for a code from a mail: the same for everything that is proven by one. A new code and another address are
// buttons, so they work without a script, and change nothing when a link is merely opened.
import type { Context } from 'koa'
import type { GuessFactor, Reservation } from '#src/factors/guessing.ts'
import type { Form } from '#src/http/form.ts'
import { HttpError } from '#src/http/http-error.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { type Said, sayLimited } from '#src/http/limited.ts'
import { template } from '#src/http/render.ts'
import { allowFormRedirect } from '#src/http/security-headers.ts'
import { MailLimitReached } from '#src/mail/outbox.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { emailKey } from '#src/users/users.ts'
import { reserve } from './guess.ts'
import { type InteractionDeps, type StepName, stepUrl } from './step.ts'

export type CodePage = {
  action: string
  csrf: string
  title: string
  lead: string
  restart: string
  /** A new code is on its way. */
  sent: string | undefined
  errors: { code?: string }
  problem: string | undefined
  /** Where mails are shown while there is no mail server. */
  devMail: string | undefined
}

const codePage = template<CodePage>('interaction/code')

export type CodeAnswer = 'answer' | 'resend' | 'restart'

/** @throws HttpError 400 */
export function readCodeAnswer(form: Form): CodeAnswer {
  const decision = form.get('decision')
  if (decision === undefined) return 'answer'
  if (decision === 'resend' || decision === 'restart') return decision
  throw new HttpError({
    status: 400,
    error: 'invalid_request',
    description: 'The field decision may only be "resend" or "restart" here.',
    screen: 'interrupted',
  })
}

export function reserveCode(
  ctx: Context,
  deps: InteractionDeps,
  { factor, email }: { factor: GuessFactor; email: string },
): Promise<Reservation> {
  return reserve(ctx, deps, { factor, person: emailKey(email) ?? '' })
}

export function renderCode(
  ctx: Context,
  { renderer, csrf, config }: InteractionDeps,
  pending: PendingInteraction,
  page: {
    step: StepName
    title: MessageKey
    restart: MessageKey
    email: string
    status: number
    wrong?: MessageKey
    problem?: Said
    sent?: boolean
  },
): void {
  const { t, rich } = renderer.translator(ctx, pending.uiLocales)
  allowFormRedirect(ctx, pending.redirectOrigin)
  renderer.renderPage(
    ctx,
    codePage,
    {
      action: stepUrl(pending, page.step),
      csrf: csrf.token(ctx, pending.uid),
      title: t(page.title),
      lead: rich('code.lead', { email: page.email }),
      restart: t(page.restart),
      sent: page.sent ? t('code.sent') : undefined,
      errors: page.wrong ? { code: t(page.wrong) } : {},
      problem: page.problem && t(page.problem.key, page.problem.args),
      devMail: config.mail === 'page' ? '/dev/mail' : undefined,
    },
    { status: page.status, uiLocales: pending.uiLocales, languageSwitch: true },
  )
}

/** Too many tries. */
export function limited(ctx: Context, retryAfterSeconds: number): { status: number; problem: Said } {
  return { status: 429, problem: sayLimited(ctx, retryAfterSeconds) }
}

/** @param send queues the mail. @returns what to show where there were too many, for whomever they were: RFC 6585 4. */
export async function unlessTooMany(
  ctx: Context,
  send: () => Promise<void>,
): Promise<{ status: number; problem: Said } | undefined> {
  try {
    await send()
    return undefined
  } catch (error) {
    if (!(error instanceof MailLimitReached)) throw error
    ctx.set('Retry-After', String(error.retryAfterSeconds))
    return { status: 429, problem: { key: 'code.error.limited' } }
  }
}
