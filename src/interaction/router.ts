// The screens between /oauth/authorize and the code. Each asks the person one thing and hands the answer to oauth/interactions,
// which knows where the browser goes next. Nothing here decides what is asked; nothing here reads a token.
//
//   GET  /interaction/:uid           -> 303 to the step that waits
//   GET  /interaction/:uid/login     the form       POST -> 303 back into /oauth/authorize
//   GET  /interaction/:uid/consent   the form       POST -> 303 back into /oauth/authorize
// In the place of the login, each at an address of its own and itself in several steps:
//   /interaction/:uid/signup         an account     /interaction/:uid/recovery   a new password
//   /interaction/:uid/verify         the address of somebody whose password was right
import Router from '@koa/router'
import type { Context } from 'koa'
import { HttpError } from '#src/http/http-error.ts'
import { InteractionExpired, type Interactions, type PendingInteraction } from '#src/oauth/interactions.ts'
import { consentStep } from './consent.ts'
import { loginStep } from './login.ts'
import { recoveryStep } from './recovery.ts'
import { signUpStep } from './sign-up.ts'
import { type InteractionDeps, type Step, type StepName, seeOther, stepUrl } from './step.ts'
import { verifyStep } from './verify.ts'

export function createInteractionRouter(deps: InteractionDeps): Router {
  const router = new Router({ prefix: '/interaction' })
  const steps = {
    login: loginStep(deps),
    consent: consentStep(deps),
    signup: signUpStep(deps),
    recovery: recoveryStep(deps),
    verify: verifyStep(deps),
  } satisfies Record<StepName, Step>

  router.get('/:uid', async (ctx) => seeOther(ctx, stepUrl(await load(ctx, deps.interactions))))
  for (const name of Object.keys(steps) as StepName[]) {
    router.get(`/:uid/${name}`, async (ctx) => {
      const pending = await load(ctx, deps.interactions)
      if (waitsFor(ctx, pending, name)) await steps[name].show(ctx, pending)
      else seeOther(ctx, stepUrl(pending))
    })
    router.post(`/:uid/${name}`, async (ctx) => {
      const pending = await load(ctx, deps.interactions)
      // The answer to another question, from an old tab: show the question that waits now.
      if (waitsFor(ctx, pending, name)) await steps[name].submit(ctx, pending)
      else seeOther(ctx, stepUrl(pending))
    })
  }
  return router
}

function waitsFor(ctx: Context, pending: PendingInteraction, step: StepName): boolean {
  if (step === 'consent') return pending.prompt === 'consent'
  return pending.prompt === 'login' || ctx.query.account === 'other'
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
