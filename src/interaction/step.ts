// What every screen between the request and the code is made of.
import type { Context } from 'koa'
import type { Database } from '#src/db/database.ts'
import type { RelyingParty } from '#src/factors/passkey.ts'
import type { Csrf } from '#src/http/csrf.ts'
import type { KnownDevices } from '#src/http/known-device.ts'
import type { Renderer } from '#src/http/render.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import type { Interactions, PendingInteraction } from '#src/oauth/interactions.ts'
import type { Position, SignIn } from './sign-in.ts'

export type InteractionDeps = {
  database: Database
  interactions: Interactions
  renderer: Renderer
  csrf: Csrf
  devices: KnownDevices
  secretKeys: SecretKeys
  /** Where passkeys are valid. */
  relyingParty: RelyingParty
  now: () => Date
}

/** What a screen is given: the parts, and the order of the sign-in. */
export type StepDeps = InteractionDeps & { signIn: SignIn }

/** A screen: shows its form, and takes its answer. It is only asked while its question waits. */
export type Step<At extends Position = Position> = {
  show(ctx: Context, pending: PendingInteraction, at: At): Promise<void>
  submit(ctx: Context, pending: PendingInteraction, at: At): Promise<void>
}

export type StepName = 'login' | 'consent' | 'second-factor' | 'enrolment' | 'enrolment/totp' | 'recovery-codes'

/** @returns the address of the step itself: a form posts to where it was shown. */
export function stepUrl(pending: PendingInteraction, step: StepName = pending.prompt): string {
  return `/interaction/${encodeURIComponent(pending.uid)}/${step}`
}

/** On the consent page a person may find that they are signed in as somebody else: the login screen is open to them, too. */
export const otherAccount = '?account=other'

export function seeOther(ctx: Context, location: string): void {
  ctx.set('Location', location)
  ctx.set('Cache-Control', 'no-store')
  ctx.body = null
  ctx.status = 303 // RFC 9700 4.12: a 307 would carry the password on
}
