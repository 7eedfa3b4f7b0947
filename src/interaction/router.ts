// The screens between /oauth/authorize and the code. Each asks the person one thing and hands the answer to oauth/interactions,
// which knows where the browser goes next. Nothing here decides what is asked; nothing here reads a token.
//
//   GET  /interaction/:uid           -> 303 to the step that waits
//   GET  /interaction/:uid/login     the form       POST -> 303 back into /oauth/authorize
//   GET  /interaction/:uid/consent   the form       POST -> 303 back into /oauth/authorize
import Router from '@koa/router'
import type { Context } from 'koa'
import { HttpError } from '#src/http/http-error.ts'
import { InteractionExpired, type Interactions, type PendingInteraction } from '#src/oauth/interactions.ts'
import { consentStep } from './consent.ts'
import { loginStep } from './login.ts'
import { type InteractionDeps, seeOther, stepUrl } from './step.ts'

export function createInteractionRouter(deps: InteractionDeps): Router {
  const router = new Router({ prefix: '/interaction' })
  const steps = { login: loginStep(deps), consent: consentStep(deps) }

  router.get('/:uid', async (ctx) => seeOther(ctx, stepUrl(await load(ctx, deps.interactions))))
  for (const name of ['login', 'consent'] as const) {
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

function waitsFor(ctx: Context, pending: PendingInteraction, step: PendingInteraction['prompt']): boolean {
  return pending.prompt === step || (step === 'login' && ctx.query.account === 'other')
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
