// Passkeys between page and server: JSON under the pending request, because only a script can speak to an authenticator. What a passkey
// is asked for is never said by the browser; it follows from the question that waits.
//
//   POST /interaction/:uid/passkey/options   {csrf}            -> the options for navigator.credentials
//   POST /interaction/:uid/passkey           {csrf, response}  -> {next}, where the browser goes; `remember` as in the form around it
import type Router from '@koa/router'
import type { Context } from 'koa'
import { z } from 'zod'
import { holdsSecondFactor } from '#src/factors/credentials.ts'
import { type Ceremony, enrolPasskey, offerEnrolment, offerSignIn, verifyPasskey } from '#src/factors/passkey.ts'
import { HttpError } from '#src/http/http-error.ts'
import { readJson } from '#src/http/json-body.ts'
import { allowFetch } from '#src/http/security-headers.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { emailKey } from '#src/users/users.ts'
import { recordFailure, reserve } from './guess.ts'
import type { Position } from './sign-in.ts'
import { interactionUrl, type StepDeps } from './step.ts'

/** What views/partials/passkey.eta and views/assets/passkey.js need. */
export type PasskeyPart = {
  address: string
  does: 'get' | 'create'
  /** The page's main button. */
  primary: boolean
}

/** For a page that offers a passkey: its script may call this server. */
export function passkeyPart(
  ctx: Context,
  pending: PendingInteraction,
  does: PasskeyPart['does'],
  primary: boolean,
): PasskeyPart {
  allowFetch(ctx)
  return { address: `/interaction/${encodeURIComponent(pending.uid)}/passkey`, does, primary }
}

const optionsBody = z.strictObject({ csrf: z.string() })
const answerBody = z.strictObject({ csrf: z.string(), response: z.looseObject({}), remember: z.boolean().optional() })

type Find = (ctx: Context) => Promise<{ pending: PendingInteraction; at: Position }>

export function addPasskeyRoutes(router: Router, deps: StepDeps, find: Find): void {
  const { database, csrf, relyingParty, renderer, signIn, now } = deps
  const { prisma } = database

  router.post('/:uid/passkey/options', async (ctx) => {
    const body = await readJson(ctx, optionsBody)
    const { pending, at } = await find(ctx)
    verifyCsrf(ctx, pending, body)
    const ceremony = ceremonyOf(pending, at)
    ctx.set('Cache-Control', 'no-store')
    ctx.body =
      at.step === 'enrolment'
        ? await offerEnrolment(prisma, relyingParty, { ...ceremony, userId: at.person.userId }, at.person, now())
        : await offerSignIn(prisma, relyingParty, ceremony, now())
  })

  router.post('/:uid/passkey', async (ctx) => {
    const { response, remember = false, ...body } = await readJson(ctx, answerBody)
    const { pending, at } = await find(ctx)
    verifyCsrf(ctx, pending, body)
    const ceremony = ceremonyOf(pending, at)
    const next =
      at.step === 'enrolment'
        ? await enrol(ctx, pending, at, response)
        : await prove(ctx, pending, at, ceremony, { response, remember })
    ctx.set('Cache-Control', 'no-store')
    ctx.body = { next }
  })

  function verifyCsrf(ctx: Context, pending: PendingInteraction, body: { csrf: string }): void {
    csrf.verify(ctx, { get: (name) => (name === 'csrf' ? body.csrf : undefined) }, { binding: pending.uid })
  }

  async function enrol(
    ctx: Context,
    pending: PendingInteraction,
    at: Extract<Position, { step: 'enrolment' }>,
    response: unknown,
  ): Promise<string> {
    const { userId, generation } = at.person
    const ceremony = { purpose: 'enrolment', flow: pending.uid, userId, generation } as const
    const name = renderer.translator(ctx, pending.uiLocales).t('enrolment.passkey.name')
    const change = signIn.changeBy(ctx, at.person)
    const enrolled = await enrolPasskey(prisma, relyingParty, ceremony, { response, name, first: true }, change)
    if (!enrolled) {
      // Sent twice, or another enrolment was faster: whatever waits now.
      if (await holdsSecondFactor(prisma, userId)) return interactionUrl(pending)
      recordFailure(pending, 'passkey', { reason: 'enrolment', userId })
      throw refused()
    }
    return signIn.proveMore(ctx, pending, at, { factor: 'passkey', amr: enrolled.amr, enrolled: true })
  }

  async function prove(
    ctx: Context,
    pending: PendingInteraction,
    at: Position,
    ceremony: Ceremony,
    { response, remember }: { response: unknown; remember: boolean },
  ): Promise<string> {
    const person = at.step === 'second-factor' ? emailKey(at.person.email) : undefined
    const reservation = await reserve(ctx, deps, { factor: 'passkey', person })
    if (!reservation.allowed) throw limited(reservation.retryAfterSeconds)
    const verdict = await verifyPasskey(prisma, relyingParty, ceremony, response, now())
    if (!verdict.ok) {
      const userId = verdict.userId ?? ceremony.userId
      recordFailure(pending, 'passkey', { reason: verdict.reason, userId, reservation })
      throw refused()
    }
    await reservation.succeed()
    const proof = { factor: 'passkey', amr: verdict.amr } as const
    return at.step === 'second-factor'
      ? signIn.proveMore(ctx, pending, at, { ...proof, remember: remember && at.rememberable })
      : signIn.proveFirst(ctx, pending, { ...proof, userId: verdict.userId })
  }
}

/** The reason is for the record; whoever asks hears one answer. */
function refused(): HttpError {
  return new HttpError({
    status: 401,
    error: 'passkey_refused',
    description: 'This passkey was not accepted. Ask for new options and try again.',
    headers: { 'WWW-Authenticate': 'Form realm="Sallyport"' }, // RFC 9110 15.5.2, as at login
  })
}

function limited(retryAfterSeconds: number): HttpError {
  return new HttpError({
    status: 429,
    error: 'too_many_attempts',
    description: 'There were too many attempts. Come back later.',
    headers: { 'Retry-After': String(retryAfterSeconds) },
  })
}

/** @throws HttpError 409 where the question that waits cannot be answered with a passkey. */
function ceremonyOf(pending: PendingInteraction, at: Position): Ceremony {
  const flow = pending.uid
  // From the page of consent a person may sign in as somebody else; not whoever is somebody else already.
  if (at.step === 'login' || (at.step === 'consent' && !pending.acting)) return { purpose: 'sign_in', flow }
  switch (at.step) {
    case 'second-factor':
      return { purpose: 'second_factor', flow, userId: at.person.userId }
    case 'enrolment':
      return { purpose: 'enrolment', flow, userId: at.person.userId }
    default:
      throw new HttpError({
        status: 409,
        error: 'not_asked',
        description: 'This sign-in does not wait for a passkey. Load the page again.',
      })
  }
}
