// The order of a sign-in, in one place:
//
//   first factor -> second factor, when role, client, request or the person's own factors ask for one
//                -> enrolment, when policy asks and there is none -> recovery codes, shown once
//                -> completeLogin, with what was truly proven
//
// In a browser that the person asked us to remember, their own factors do not ask by themselves; whoever else asks is answered with a proof
// (docs/decisions/030).
//
// How far somebody came is a column of the pending request (oauth/interactions.ts): whose sign-in it is, what was proven and when. The
// browser holds none of it and can only answer the question that waits; which one that is, is worked out anew at every request from
// what was proven and where the person stands at that moment. A first factor begins the sign-in anew, so one person's proofs never
// count for another. Every step names the version of the column that it saw, and of two that saw the same one counts.
import type { Context } from 'koa'
import { z } from 'zod'
import type { Change } from '#src/audit/change.ts'
import { ownClientId } from '#src/clients/own-client.ts'
import type { Database } from '#src/db/database.ts'
import {
  type Acr,
  combineMethods,
  type FactorKind,
  levelOf,
  methods,
  type Proof,
  phishingResistant,
  twoFactors,
} from '#src/factors/assurance.ts'
import { replaceRecoveryCodes } from '#src/factors/recovery-code.ts'
import { touchRememberedDevice } from '#src/factors/remembered-device.ts'
import {
  canBeSpared,
  hasSecondFactor,
  isEnough,
  reachableLevel,
  readStanding,
  type Standing,
} from '#src/factors/second-factors.ts'
import type { Csrf } from '#src/http/csrf.ts'
import type { KnownDevices } from '#src/http/known-device.ts'
import { requestOf } from '#src/http/request-context.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { queueNotice } from '#src/mail/notices.ts'
import type { Interactions, PendingInteraction } from '#src/oauth/interactions.ts'
import type { RememberedDevices } from '#src/oauth/remembered-devices.ts'
import { strongerProof } from '#src/oauth/requested-acr.ts'
import { hasSignedIn } from '#src/tokens/sessions.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { emailKey, findUser } from '#src/users/users.ts'
import { stepUrl } from './step.ts'

/** The question that waits. `acting`, `complete` and `unmet` are none: the browser goes on without one. */
export type Position =
  | { step: 'login' | 'consent' }
  /** Somebody else is at the browser in the person's name: what is asked for, only the person could prove. */
  | { step: 'acting' }
  | { step: 'second-factor'; person: Standing; progress: Progress; passkeyOnly: boolean; rememberable: boolean }
  | { step: 'enrolment'; person: Standing; progress: Progress; passkeyOnly: boolean }
  | { step: 'recovery-codes'; person: Standing; progress: Progress }
  /** `sparedBy`: the remembered browser without which more would be asked. */
  | { step: 'complete'; person: Standing; progress: Progress; sparedBy: string | undefined }
  | { step: 'unmet'; person: Standing; progress: Progress }

export type SignIn = Readonly<{
  /** Where the sign-in stands. Reads, and changes nothing. */
  find(ctx: Context, pending: PendingInteraction): Promise<Position>
  /** Somebody proved who they are: whatever was proven before in this request is forgotten.
   *  @param amr RFC 8176, where the factor does not say it by itself. @returns where the browser goes. */
  proveFirst(
    ctx: Context,
    pending: PendingInteraction,
    proof: { userId: string; factor: FactorKind; amr?: readonly string[] },
  ): Promise<string>
  /** The same person proved one thing more. @param at of `find`, for this request. @param proof.remember they are not to be asked again in
   *  this browser. @returns where the browser goes. */
  proveMore(
    ctx: Context,
    pending: PendingInteraction,
    at: Position & { progress: Progress },
    proof: { factor: FactorKind; amr?: readonly string[]; enrolled?: boolean; remember?: boolean },
  ): Promise<string>
  /** The person has their recovery codes. @returns where the browser goes. */
  codesWritten(ctx: Context, pending: PendingInteraction, at: Position & { progress: Progress }): Promise<string>
  /** Keeps what a screen needs at its next step. */
  keep(pending: PendingInteraction, progress: Progress): void
  /** Leaves the screens from where no question waits. @returns where the browser goes. */
  leave(ctx: Context, pending: PendingInteraction, at: Position): Promise<string>
  /** Somebody else, or from the beginning. @returns where the browser goes. */
  restart(pending: PendingInteraction): string
  seal(pending: PendingInteraction, what: string, plain: string): string
  unseal(pending: PendingInteraction, what: string, sealed: string): string
  changeBy(ctx: Context, person: Standing): Change
}>

const progressShape = z.strictObject({
  userId: z.string(),
  /** The person's generation when it began: what ends their sessions ends this, too. */
  generation: z.number(),
  /** The session counts, so the first factor was not asked again. */
  fromSession: z.boolean(),
  proofs: z.array(z.strictObject({ factor: z.string(), amr: z.array(z.string()), at: z.number() })),
  /** This browser is to be remembered when it is complete. */
  remember: z.boolean().optional(),
  /** The seed of an app that is being set up, sealed. */
  seed: z.string().optional(),
  /** The phone that a code was sent to. */
  phone: z.string().optional(),
  /** The request for approval that was sent, with its number, sealed. */
  push: z.string().optional(),
  /** Recovery codes that wait to be written down, sealed. */
  codes: z.string().optional(),
})
export type Progress = Readonly<Omit<z.infer<typeof progressShape>, 'proofs'> & { proofs: readonly Proof[] }>

export type SignInDeps = {
  database: Database
  interactions: Interactions
  secretKeys: SecretKeys
  csrf: Csrf
  devices: KnownDevices
  remembered: RememberedDevices
  now: () => Date
}

export function createSignIn({
  database,
  interactions,
  secretKeys,
  csrf,
  devices,
  remembered,
  now,
}: SignInDeps): SignIn {
  const { prisma } = database
  const signIn: SignIn = {
    async find(ctx, pending) {
      if (pending.acting && pending.prompt === 'login') return { step: 'acting' }
      const progress = readProgress(pending)
      const person = await findPerson(progress?.userId ?? steppingUp(pending))
      if (!person) return { step: pending.prompt }
      const { userId, generation } = person
      if (!progress) return locate(ctx, pending, person, { userId, generation, fromSession: true, proofs: [] })
      // Switched off, or their sessions ended, while the form was open.
      if (progress.generation !== generation) return { step: pending.prompt }
      return locate(ctx, pending, person, progress)
    },

    async proveFirst(ctx, pending, { userId, factor, amr }) {
      const person = await findPerson(userId)
      if (!person) return signIn.restart(pending)
      const { generation } = person
      const proofs = [proofOf(factor, amr)]
      return advance(ctx, pending, person, { userId, generation, fromSession: false, proofs })
    },

    async proveMore(ctx, pending, at, { factor, amr, enrolled = false, remember = false }) {
      const { seed: _, phone: __, push: ___, ...before } = at.progress
      const proofs = [...before.proofs, proofOf(factor, amr)]
      const progress = { ...before, proofs, ...(remember ? { remember } : {}) }
      const person = await findPerson(progress.userId)
      if (!person) return signIn.restart(pending)
      if (!enrolled || person.recoveryCodes > 0) return advance(ctx, pending, person, progress)
      const codes = await replaceRecoveryCodes(prisma, person.userId, signIn.changeBy(ctx, person))
      return advance(ctx, pending, person, { ...progress, codes: signIn.seal(pending, 'codes', codes.join(' ')) })
    },

    async codesWritten(ctx, pending, at) {
      const { codes: _, ...progress } = at.progress
      const person = await findPerson(progress.userId)
      return person ? advance(ctx, pending, person, progress) : signIn.restart(pending)
    },

    keep(pending, progress) {
      interactions.saveProgress(pending, progress)
    },

    async leave(ctx, pending, at) {
      if (at.step === 'complete') return complete(ctx, pending, at)
      if (at.step === 'unmet') return refuseUnmet(ctx, pending, at.person)
      if (at.step === 'acting') return interactions.refuseUnmet(ctx, pending)
      return stepUrl(pending, at.step)
    },

    restart(pending) {
      interactions.saveProgress(pending, null)
      return stepUrl(pending)
    },

    // To this request and nothing else: what was sealed for one cannot be opened in another.
    seal: (pending, what, plain) => secretKeys.seal('sign-in', `${pending.uid} ${what}`, plain),
    unseal: (pending, what, sealed) => secretKeys.unseal('sign-in', `${pending.uid} ${what}`, sealed).toString(),

    changeBy(ctx, person) {
      const { requestId } = requestOf(ctx)
      const origin = { address: ctx.ip, userAgent: ctx.get('User-Agent') || undefined, requestId }
      return { now: now(), actor: { kind: 'user', id: person.userId }, origin }
    },
  }
  return Object.freeze(signIn)

  async function findPerson(userId: string | undefined): Promise<Standing | undefined> {
    const person = userId === undefined ? undefined : await readStanding(database, userId)
    return person?.disabled ? undefined : person
  }

  function proofOf(factor: FactorKind, amr: readonly string[] | undefined): Proof {
    return {
      factor,
      amr: [...(amr ?? (factor === 'passkey' ? [] : methods[factor]))],
      at: Math.floor(now().getTime() / 1000),
    }
  }

  async function advance(
    ctx: Context,
    pending: PendingInteraction,
    person: Standing,
    progress: Progress,
  ): Promise<string> {
    const at = await locate(ctx, pending, person, progress)
    if (at.step === 'complete' || at.step === 'unmet' || at.step === 'acting') return signIn.leave(ctx, pending, at)
    interactions.saveProgress(pending, progress)
    return stepUrl(pending, at.step)
  }

  async function locate(
    ctx: Context,
    pending: PendingInteraction,
    person: Standing,
    progress: Progress,
  ): Promise<Position> {
    const rememberable = remembered.days > 0 && countsRemembered(pending, person)
    const device = rememberable ? await remembered.find(ctx, person.userId) : undefined
    return place(pending, person, progress, { rememberable, device })
  }

  async function complete(
    ctx: Context,
    pending: PendingInteraction,
    { person, progress, sparedBy }: Extract<Position, { step: 'complete' }>,
  ): Promise<string> {
    const { amr, level, since } = provenBy(pending, progress)
    currentUnit().audit({
      event: 'login.succeeded',
      outcome: 'success',
      actor: { kind: 'user', id: person.userId },
      clientId: pending.client.id,
      detail: { amr, ...(sparedBy === undefined ? {} : { rememberedDevice: true }) },
    })
    if (sparedBy !== undefined) await touchRememberedDevice(prisma, sparedBy, now())
    const who = { userId: person.userId, amr, acr: level, at: since }
    const next = await interactions.completeLogin(ctx, pending, who)
    csrf.rotate(ctx)
    if (progress.remember) await remembered.remember(ctx, person.userId, signIn.changeBy(ctx, person))
    await noteDevice(ctx, person)
    return next
  }

  /** ASVS 6.3.5: a browser that nobody knows is told about; not the first one of all. */
  async function noteDevice(ctx: Context, { userId, email }: Standing): Promise<void> {
    const key = emailKey(email)
    if (key === undefined) return
    if (devices.find(ctx, key) === undefined && (await hasSignedIn(prisma, userId))) {
      const user = await findUser(prisma, userId)
      const { origin } = currentUnit()
      if (user) await queueNotice(prisma, 'newDevice', user, origin, { secretKeys, now: now() })
    }
    devices.remember(ctx, key)
  }

  async function refuseUnmet(ctx: Context, pending: PendingInteraction, person: Standing): Promise<string> {
    currentUnit().audit({
      event: 'login.failed',
      outcome: 'failure',
      actor: { kind: 'user', id: person.userId },
      clientId: pending.client.id,
      detail: { reason: 'unmet_authentication_requirements' },
    })
    return interactions.refuseUnmet(ctx, pending)
  }
}

/** The order itself. @param browser.device this browser is remembered, and that counts here. */
function place(
  pending: PendingInteraction,
  person: Standing,
  progress: Progress,
  { device, rememberable }: { device: string | undefined; rememberable: boolean },
): Position {
  const { level } = provenBy(pending, progress)
  const enough = (reached: Acr, remembered = false) => isEnough(reached, person, { ...pending, remembered })
  if (progress.codes !== undefined) return { step: 'recovery-codes', person, progress }
  if (enough(level)) return { step: 'complete', person, progress, sparedBy: undefined }
  if (device !== undefined && enough(level, true)) return { step: 'complete', person, progress, sparedBy: device }

  const passkeyOnly = !enough(twoFactors)
  if (enough(reachableLevel(person))) return { step: 'second-factor', person, progress, passkeyOnly, rememberable }
  // Policy asks and there is nothing to ask for. Where only the client asks, a password alone must not be enough to add a factor.
  const policy = person.roleRequires || pending.secondFactor === 'required'
  if (policy && !hasSecondFactor(person) && enough(phishingResistant))
    return { step: 'enrolment', person, progress, passkeyOnly }
  return { step: 'unmet', person, progress }
}

/** Whether it makes a difference that this browser is remembered. Where our own pages ask somebody to sign in once more, it makes none. */
function countsRemembered(pending: PendingInteraction, person: Standing): boolean {
  const again = pending.client.id === ownClientId && pending.reasons.includes('login_prompt')
  return !again && canBeSpared(person, pending)
}

/** Everything that counts, together. It was all proven at or after `since`, which is what `max_age` is about (OIDC Core 2, auth_time). */
function provenBy(
  pending: PendingInteraction,
  { fromSession, proofs }: Progress,
): { amr: string[]; level: Acr; since: number } {
  const session = fromSession ? pending.session : undefined
  const kinds = new Map(proofs.map(({ factor, amr }) => [factor, amr]))
  const amr = combineMethods([...(session ? [session.amr] : []), ...kinds.values()])
  const times = [...(session ? [session.at] : []), ...proofs.map(({ at }) => at)]
  return { amr, level: levelOf(amr), since: Math.min(...times) }
}

/** @returns the signed-in person, when all that is missing is a stronger proof: their session stands for the first factor. */
function steppingUp({ prompt, reasons, userId, session }: PendingInteraction): string | undefined {
  return prompt === 'login' && session && reasons.every((reason) => reason === strongerProof) ? userId : undefined
}

function readProgress(pending: PendingInteraction): Progress | undefined {
  if (pending.progress === undefined || pending.progress === null) return undefined
  const progress = progressShape.parse(pending.progress) as Progress
  return progress.fromSession && progress.userId !== steppingUp(pending) ? undefined : progress
}
