// What every screen between the request and the code is made of.
import type { Context } from 'koa'
import type { Change } from '#src/audit/change.ts'
import type { Config } from '#src/config.ts'
import type { Database } from '#src/db/database.ts'
import type { OutOfBandTransport } from '#src/factors/out-of-band.ts'
import type { RelyingParty } from '#src/factors/passkey.ts'
import type { Csrf } from '#src/http/csrf.ts'
import type { KnownDevices } from '#src/http/known-device.ts'
import type { Renderer } from '#src/http/render.ts'
import { requestOf } from '#src/http/request-context.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import type { Interactions, PendingInteraction } from '#src/oauth/interactions.ts'
import type { RememberedDevices } from '#src/oauth/remembered-devices.ts'
import type { Position, SignIn } from './sign-in.ts'

export type InteractionDeps = {
  database: Database
  interactions: Interactions
  renderer: Renderer
  csrf: Csrf
  config: Pick<Config, 'impersonation' | 'mail' | 'signUp' | 'emailVerification' | 'emailSignIn'>
  devices: KnownDevices
  remembered: RememberedDevices
  secretKeys: SecretKeys
  /** Where passkeys are valid. */
  relyingParty: RelyingParty
  /** Undefined: nothing is sent to phones. */
  outOfBand: OutOfBandTransport | undefined
  now: () => Date
}

/** What a screen is given: the parts, and the order of the sign-in. */
export type StepDeps = InteractionDeps & { signIn: SignIn }

/** A screen: shows its form, and takes its answer. It is only asked while its question waits. */
export type Step<At extends Position = Position> = {
  show(ctx: Context, pending: PendingInteraction, at: At): Promise<void>
  submit(ctx: Context, pending: PendingInteraction, at: At): Promise<void>
}

export type StepName =
  | 'login'
  | 'consent'
  | 'second-factor'
  | 'enrolment'
  | 'enrolment/totp'
  | 'recovery-codes'
  | 'signup'
  | 'recovery'
  | 'verify'
  | 'email-code'

const inPlaceOfLogin: readonly StepName[] = ['login', 'signup', 'recovery', 'verify', 'email-code']

/** @returns the address of the step itself: a form posts to where it was shown. Whatever is asked in the place of consent is asked of
 *  somebody who wants to be somebody else. */
export function stepUrl(pending: PendingInteraction, step: StepName = pending.prompt): string {
  const isOther = inPlaceOfLogin.includes(step) && pending.prompt !== 'login'
  return `${interactionUrl(pending)}/${step}${isOther ? otherAccount : ''}`
}

/** @returns the address that leads to the step that waits, whichever it is by then. */
export function interactionUrl({ uid }: PendingInteraction): string {
  return `/interaction/${encodeURIComponent(uid)}`
}

/** For the records of a room: somebody who has not signed in yet. */
export function changeBy(ctx: Context, { now }: Pick<InteractionDeps, 'now'>): Change {
  const { requestId } = requestOf(ctx)
  const origin = { address: ctx.ip, userAgent: ctx.get('User-Agent') || undefined, requestId }
  return { now: now(), actor: { kind: 'system', id: 'interaction' }, origin }
}

/** On the consent page a person may find that they are signed in as somebody else: the login screen is open to them, too. */
const otherAccount = '?account=other'

export function seeOther(ctx: Context, location: string): void {
  ctx.set('Location', location)
  ctx.set('Cache-Control', 'no-store')
  ctx.body = null
  ctx.status = 303 // RFC 9700 4.12: a 307 would carry the password on
}
