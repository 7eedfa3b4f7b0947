// The screens between /oauth/authorize and the code. Each asks the person one thing. Which one waits is said by sign-in.ts and nobody
// else; a screen whose question does not wait is not asked, whatever is sent to it: the browser is led to the one that waits.
//
//   GET  /interaction/:uid                      -> 303 to the step that waits
//   /interaction/:uid/login                     email address and password
//   /interaction/:uid/second-factor             a code, or a passkey
//   /interaction/:uid/enrolment, …/totp         a second factor for who must have one and has none
//   /interaction/:uid/recovery-codes            shown once
//   /interaction/:uid/consent                   what the application may do
//   POST /interaction/:uid/passkey, …/options   JSON, for login, second factor and enrolment
// In the place of the login, each at an address of its own and itself in several steps:
//   /interaction/:uid/signup                    an account
//   /interaction/:uid/recovery                  a new password
//   /interaction/:uid/verify                    the address of somebody whose first factor was right
//   /interaction/:uid/email-code                a code from a mail instead of the password
// Every GET shows a form, every POST leads on with 303.
import Router from '@koa/router'
import type { Context } from 'koa'
import { HttpError } from '#src/http/http-error.ts'
import { InteractionExpired, type Interactions, type PendingInteraction } from '#src/oauth/interactions.ts'
import { becomeSomebody } from './become.ts'
import { consentStep } from './consent.ts'
import { emailCodeStep } from './email-code.ts'
import { enrolmentStep, totpEnrolmentStep } from './enrolment.ts'
import { verifyFirst } from './first-factor.ts'
import { loginStep } from './login.ts'
import { addPasskeyRoutes } from './passkey.ts'
import { recoveryStep } from './recovery.ts'
import { recoveryCodesStep } from './recovery-codes.ts'
import { secondFactorStep } from './second-factor.ts'
import { createSignIn, type Position } from './sign-in.ts'
import { signUpStep } from './sign-up.ts'
import { type InteractionDeps, type Step, type StepName, seeOther } from './step.ts'
import { verifyStep } from './verify.ts'

/** Which question a screen belongs to. */
const questions: Record<StepName, Position['step']> = {
  login: 'login',
  consent: 'consent',
  'second-factor': 'second-factor',
  enrolment: 'enrolment',
  'enrolment/totp': 'enrolment',
  'recovery-codes': 'recovery-codes',
  signup: 'login',
  recovery: 'login',
  verify: 'login',
  'email-code': 'login',
}

export function createInteractionRouter(parts: InteractionDeps): Router {
  const router = new Router({ prefix: '/interaction' })
  const signIn = verifyFirst(createSignIn(parts), parts)
  const deps = { ...parts, signIn }
  const totp = totpEnrolmentStep(deps)
  const steps = {
    login: loginStep(deps),
    consent: consentStep(deps),
    'second-factor': secondFactorStep(deps),
    enrolment: enrolmentStep(deps),
    'enrolment/totp': totp,
    'recovery-codes': recoveryCodesStep(deps),
    signup: signUpStep(deps),
    recovery: recoveryStep(deps),
    verify: verifyStep(deps),
    'email-code': emailCodeStep(deps),
  } satisfies Record<StepName, unknown>

  const find = async (ctx: Context) => {
    const pending = await load(ctx, parts.interactions)
    return { pending, at: await signIn.find(ctx, pending) }
  }

  router.get('/:uid', async (ctx) => {
    const { pending, at } = await find(ctx)
    const isAsked = pending.impersonation !== undefined && at.step === 'login'
    seeOther(ctx, isAsked ? await becomeSomebody(ctx, pending, parts) : await signIn.leave(ctx, pending, at))
  })
  for (const name of Object.keys(steps) as StepName[]) {
    const step = steps[name] as Step
    for (const [method, act] of [
      ['get', step.show],
      ['post', step.submit],
    ] as const)
      router[method](`/:uid/${name}`, async (ctx) => {
        const { pending, at } = await find(ctx)
        // The answer to another question, from an old tab: show the question that waits now.
        if (waitsFor(ctx, pending, at, name)) await act(ctx, pending, at)
        else seeOther(ctx, await signIn.leave(ctx, pending, at))
      })
  }
  router.get('/:uid/enrolment/totp/qr.svg', async (ctx) => {
    const { pending, at } = await find(ctx)
    if (at.step === 'enrolment') totp.showQrCode(ctx, pending, at)
  })
  addPasskeyRoutes(router, deps, find)
  return router
}

function waitsFor(ctx: Context, pending: PendingInteraction, at: Position, name: StepName): boolean {
  return (
    at.step === questions[name] ||
    (questions[name] === 'login' && at.step === 'consent' && ctx.query.account === 'other' && !pending.acting)
  )
}

async function load(ctx: Context, interactions: Interactions): Promise<PendingInteraction> {
  try {
    return await interactions.load(ctx, String(ctx.params.uid))
  } catch (error) {
    if (error instanceof InteractionExpired)
      throw new HttpError({
        status: 410,
        error: 'interaction_expired',
        description: 'This sign-in took too long, was finished elsewhere, or began in another browser.',
        screen: 'expired',
      })
    throw error
  }
}
