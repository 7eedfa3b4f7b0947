// The link of an invitation. Opening it changes nothing (mail scanners open links); the account is created when a name and a
// password are sent. It belongs to no request of an application, so it ends with a page.
import Router from '@koa/router'
import type { Context } from 'koa'
import { readForm } from '#src/http/form.ts'
import { HttpError } from '#src/http/http-error.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import type { Said } from '#src/http/limited.ts'
import { template } from '#src/http/render.ts'
import { checkText } from '#src/refusal.ts'
import { acceptInvitation, findInvitation, type Invitation } from '#src/registration/invitations.ts'
import { EmailTaken } from '#src/users/users.ts'
import { renderNotice } from './notice.ts'
import { choosePassword } from './password-choice.ts'
import { changeBy, type InteractionDeps } from './step.ts'

export type InvitationPage = {
  action: string
  csrf: string
  email: string
  name: string
  focus: Field
  errors: Partial<Record<Field, string>>
  problem: string | undefined
}

const fields = ['name', 'password'] as const
type Field = (typeof fields)[number]
type Wrong = Partial<Record<Field, MessageKey>> & { problem?: Said }

const invitationPage = template<InvitationPage>('interaction/invitation')

export function createInvitationRouter(deps: Omit<InteractionDeps, 'interactions'>): Router {
  const { database, renderer, csrf, config, now } = deps
  const router = new Router({ prefix: '/invitation' })

  router.get('/:token', async (ctx) => {
    render(ctx, await find(ctx), '', {}, 200)
  })

  router.post('/:token', async (ctx) => {
    const form = await readForm(ctx)
    csrf.verify(ctx, form, { beforeLogin: true })
    const invitation = await find(ctx)
    const name = form.get('name')?.trim() ?? ''
    if (name === '') return render(ctx, invitation, name, { name: 'setup.error.nameMissing' }, 422)
    if (checkText('name', name, 128).length > 0)
      return render(ctx, invitation, name, { name: 'setup.error.nameInvalid' }, 422)
    const choice = await choosePassword(ctx, form.get('password') ?? '', [invitation.email, name])
    if (!choice.ok) return render(ctx, invitation, name, choice.wrong, choice.status)

    const { locale } = renderer.translator(ctx)
    const { passwordHash } = choice
    const ask = { token: String(ctx.params.token), name, passwordHash, locale }
    const accepted = await acceptInvitation(database.prisma, ask, changeBy(ctx, deps)).catch((error: unknown) => {
      if (error instanceof EmailTaken) return 'taken' as const
      throw error
    })
    if (accepted === undefined) throw gone()
    if (accepted === 'taken') return render(ctx, invitation, name, { problem: { key: 'signUp.error.taken' } }, 409)
    renderNotice(ctx, renderer, {
      title: 'invitation.doneTitle',
      text: 'invitation.doneText',
      link: { words: 'invitation.account', href: '/account' },
    })
  })
  return router

  async function find(ctx: Context): Promise<Invitation> {
    if (config.signUp === 'off') throw nothingHere()
    const invitation = await findInvitation(database.prisma, String(ctx.params.token), now())
    if (invitation) return invitation
    throw gone()
  }

  function render(ctx: Context, { email }: Invitation, name: string, wrong: Wrong, status: number): void {
    const { t } = renderer.translator(ctx)
    const errors: InvitationPage['errors'] = {}
    for (const field of fields) if (wrong[field]) errors[field] = t(wrong[field])
    renderer.renderPage(
      ctx,
      invitationPage,
      {
        action: `/invitation/${encodeURIComponent(String(ctx.params.token))}`,
        csrf: csrf.token(ctx),
        email,
        name,
        focus: fields.find((field) => wrong[field]) ?? 'name',
        errors,
        problem: wrong.problem && t(wrong.problem.key, wrong.problem.args),
      },
      { status, languageSwitch: true },
    )
  }
}

const nothingHere = (): HttpError =>
  new HttpError({ status: 404, error: 'not_found', description: 'There is nothing at this address.' })

/** Unknown, used and expired get one answer. */
function gone(): HttpError {
  return new HttpError({
    status: 410,
    error: 'invitation_gone',
    description: 'This invitation was used, has expired, or was replaced by a newer one.',
    screen: 'invitation',
  })
}
