// The bridge between the engine's pending authorization request and the screens in src/interaction. A screen loads the request,
// asks the person, and completes it here; the answer is an address to send the browser to with 303.
//
// Order of events of a sign-in: /oauth/authorize stores the request and sends the browser to /interaction/:uid -> the steps of
// interaction/sign-in.ts, each kept by saveProgress -> completeLogin -> /oauth/authorize/:uid resumes, the session begins ->
// /interaction/:uid again for consent -> completeConsent -> resume -> the code leaves for the client.
import type { Context } from 'koa'
import type Provider from 'oidc-provider'
import { errors } from 'oidc-provider'
import { openidScopes } from '#src/apis/scope-names.ts'
import { logoAddress } from '#src/clients/logos.ts'
import { ownClientId } from '#src/clients/own-client.ts'
import type { ClientRecord } from '#src/clients/settings.ts'
import { type Acr, asLevel } from '#src/factors/assurance.ts'
import { impersonationIn, markOf } from '#src/impersonation/mark.ts'
import { readInteraction, type SessionRow } from '#src/tokens/statements.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { hex, rowId } from './adapter/row-id.ts'
import type { ProviderSource } from './provider.ts'
import { type RequestedAcr, requestedAcr } from './requested-acr.ts'
import { applyAnswer, newGrant } from './session-grants.ts'
import { allowedScopes, type Snapshot } from './snapshot.ts'
import { impersonationHint } from './visitors.ts'

/** The request is over, or belongs to another browser. */
export class InteractionExpired extends Error {
  override name = 'InteractionExpired'
}

export type PendingInteraction = {
  uid: string
  prompt: 'login' | 'consent'
  reasons: readonly string[]
  client: {
    id: string
    name: string
    clientUri: string | null
    logoUri: string | null
    /** Where its picture is. */
    logo: string | undefined
    policyUri: string | null
    tosUri: string | null
  }
  /** The client's own policy: optional | required. */
  secondFactor: string
  /** Where the browser goes afterwards. */
  redirectOrigin: string
  /** The signed-in person; always there for consent. */
  userId: string | undefined
  /** The browser's session, of whomever. */
  sessionUid: string | undefined
  /** Their session: what it was proven by, how much that is worth, since when (epoch seconds). */
  session: { amr: readonly string[]; acr: Acr; at: number } | undefined
  loginHint: string | undefined
  /** An administrator acts as the person: nothing can be proven, and nothing is remembered. */
  acting: boolean
  /** What our own client was told to begin: the id of an impersonation. */
  impersonation: string | undefined
  /** What the client asks of the sign-in. */
  asked: RequestedAcr | undefined
  /** How far the sign-in has come: what saveProgress kept, in the version that this request saw. */
  progress: unknown
  progressVersion: number
  uiLocales: readonly string[]
  openidScopes: readonly { name: string; required: boolean }[]
  resources: readonly {
    identifier: string
    name: string
    scopes: readonly { name: string; description: string; required: boolean }[]
  }[]
}

export type Interactions = {
  /** @throws InteractionExpired when uid, cookie and record do not agree. */
  load(ctx: Context, uid: string): Promise<PendingInteraction>
  completeLogin(
    ctx: Context,
    pending: PendingInteraction,
    who: { userId: string; amr: readonly string[]; acr: Acr; at: number },
  ): Promise<string>
  /** The browser's session ends, and one begins that says who is behind it. @param who.at epoch seconds */
  completeImpersonation(
    ctx: Context,
    pending: PendingInteraction,
    who: { id: string; userId: string; at: number },
  ): Promise<string>
  /** Kept with the request, in the commit of this step; lost when another step was faster. Null: the sign-in begins afresh. */
  saveProgress(pending: PendingInteraction, progress: object | null): void
  completeConsent(
    ctx: Context,
    pending: PendingInteraction,
    allowed: { openid: readonly string[]; resources: Readonly<Record<string, readonly string[]>> },
  ): Promise<string>
  deny(ctx: Context, pending: PendingInteraction): Promise<string>
  /** Back to the client: the person cannot sign in as strongly as it asks (OpenID Connect Core Unmet Authentication Requirements 1.0). */
  refuseUnmet(ctx: Context, pending: PendingInteraction): Promise<string>
}

const openid = new Set<string>(openidScopes)

export function createInteractions(source: ProviderSource): Interactions {
  return {
    async load(ctx, uid) {
      const { provider, snapshot } = source.current()
      const details = await find(provider, ctx, uid)
      const { params, prompt, session } = details
      const record = await snapshot.client(String(params.client_id))
      if (!record || (prompt.name !== 'login' && prompt.name !== 'consent')) throw new InteractionExpired()
      const asked = words(params.scope)
      const row = await readRow(uid)
      const found = session?.uid === undefined ? undefined : currentUnit().sessions.get(session.uid)
      const acting = found !== undefined && impersonationIn(found.acr) !== undefined
      return {
        uid,
        prompt: prompt.name,
        reasons: prompt.reasons,
        client: pickClient(record),
        secondFactor: record.secondFactor,
        redirectOrigin: originOf(String(params.redirect_uri)),
        userId: session?.accountId,
        sessionUid: session?.uid,
        session: found && session?.accountId ? sessionOf(found) : undefined,
        asked: requestedAcr(params),
        progress: row?.progress ?? undefined,
        progressVersion: row?.progressVersion ?? 0,
        loginHint: text(params.login_hint),
        acting,
        impersonation: record.id === ownClientId ? askedFor(text(params.login_hint)) : undefined,
        uiLocales: words(params.ui_locales),
        openidScopes: asked
          .filter((scope) => openid.has(scope) && !(acting && scope === 'offline_access'))
          .map((name) => ({ name, required: name === 'openid' || record.requiredScopes.includes(name) })),
        resources: describeResources(snapshot, record, words(params.resource), asked),
      }
    },

    async completeLogin(ctx, pending, { userId, amr, acr, at }) {
      if (pending.acting) throw new InteractionExpired() // no screen leads here
      const { provider } = source.current()
      await find(provider, ctx, pending.uid)
      writeProgress(pending, { progress: null, done: true })
      return provider.interactionResult(
        ctx.req,
        ctx.res,
        { login: { accountId: userId, amr: [...amr], acr, ts: at, remember: true } },
        { mergeWithLastSubmission: false },
      )
    },

    async completeImpersonation(ctx, pending, { id, userId, at }) {
      const { provider } = source.current()
      await find(provider, ctx, pending.uid)
      writeProgress(pending, { progress: null, done: true })
      // Not remembered: it ends with the browser, at the latest.
      const login = { accountId: userId, amr: [], acr: markOf(id), ts: at, remember: false }
      return provider.interactionResult(ctx.req, ctx.res, { login }, { mergeWithLastSubmission: false })
    },

    saveProgress(pending, progress) {
      writeProgress(pending, { progress, done: false })
    },

    async completeConsent(ctx, pending, allowed) {
      const { provider } = source.current()
      const details = await find(provider, ctx, pending.uid)
      const userId = details.session?.accountId
      const sessionUid = details.session?.uid
      if (!userId || !sessionUid) throw new InteractionExpired()
      const grant =
        (details.grantId && (await provider.Grant.find(details.grantId))) ||
        (await newGrant(provider, { sessionUid, userId, clientId: pending.client.id }))

      // Whatever the form said, only what was asked can be given; what is required stays in.
      const given = { scopes: [] as string[], resourceScopes: {} as Record<string, string[]> }
      const left = { scopes: [] as string[], resourceScopes: {} as Record<string, string[]> }
      for (const { name, required } of pending.openidScopes)
        (required || allowed.openid.includes(name) ? given : left).scopes.push(name)
      // Left out for them, or they would be asked again and again.
      if (pending.acting) left.scopes.push('offline_access')
      for (const { identifier, scopes } of pending.resources)
        for (const { name, required } of scopes) {
          const side = required || allowed.resources[identifier]?.includes(name) ? given : left
          side.resourceScopes[identifier] = [...(side.resourceScopes[identifier] ?? []), name]
        }
      const agreed = applyAnswer(grant, given, left)
      const grantId = await grant.save()

      // `prompt=consent` in a link that somebody made up: there is no client to remember anything for.
      // And what an administrator agreed to is nothing that the person did: it is for this session.
      if (pending.client.id !== ownClientId && !pending.acting)
        currentUnit().rows.consent.set(`${userId} ${pending.client.id}`, {
          userId,
          clientId: pending.client.id,
          scopes: [...agreed.scopes],
          resourceScopes: Object.fromEntries(
            Object.entries(agreed.resourceScopes).map(([resource, names]) => [resource, [...names]]),
          ),
        })
      return provider.interactionResult(ctx.req, ctx.res, { consent: { grantId } }, { mergeWithLastSubmission: true })
    },

    async deny(ctx, pending) {
      const { provider } = source.current()
      await find(provider, ctx, pending.uid)
      const refusal = { error: 'access_denied', error_description: 'the person refused the request' }
      return provider.interactionResult(ctx.req, ctx.res, refusal, { mergeWithLastSubmission: false })
    },

    async refuseUnmet(ctx, pending) {
      const { provider } = source.current()
      await find(provider, ctx, pending.uid)
      const refusal = {
        error: 'unmet_authentication_requirements',
        error_description: 'the person has no way to sign in as strongly as requested',
      }
      return provider.interactionResult(ctx.req, ctx.res, refusal, { mergeWithLastSubmission: false })
    },
  }
}

async function find(provider: Provider, ctx: Context, uid: string) {
  try {
    const details = await provider.interactionDetails(ctx.req, ctx.res)
    // The cookie names the request; an address that names another one was not meant for this browser.
    if (details.uid !== uid) throw new InteractionExpired()
    return details
  } catch (error) {
    if (error instanceof errors.SessionNotFound) throw new InteractionExpired()
    throw error
  }
}

/** The row that the engine has read for this request. */
function readRow(uid: string) {
  const unit = currentUnit()
  const id = rowId(unit, uid)
  return unit.remember(`interaction ${hex(id)}`, () => readInteraction(unit.database.pool, id))
}

function writeProgress(pending: PendingInteraction, write: { progress: object | null; done: boolean }): void {
  const unit = currentUnit()
  const id = hex(rowId(unit, pending.uid))
  unit.rows.progress.set(id, { id, version: pending.progressVersion, ...write })
}

function sessionOf(row: SessionRow): PendingInteraction['session'] {
  return { amr: row.amr, acr: asLevel(row.acr), at: Math.floor(row.loginAt ?? row.createdAt) }
}

function pickClient(record: ClientRecord): PendingInteraction['client'] {
  const { id, name, clientUri, logoUri, logo, policyUri, tosUri } = record
  return { id, name, clientUri, logoUri, logo: logoAddress(logo), policyUri, tosUri }
}

function describeResources(
  snapshot: Snapshot,
  record: ClientRecord,
  resources: readonly string[],
  asked: readonly string[],
): PendingInteraction['resources'] {
  return resources.flatMap((identifier) => {
    const api = snapshot.apis.get(identifier)
    if (!api) return []
    const allowed = new Set(allowedScopes(record, identifier))
    const required = new Set(
      record.apiScopes.filter((row) => row.apiIdentifier === identifier && row.required).map((row) => row.scopeName),
    )
    const scopes = api.scopes
      .filter(({ name }) => asked.includes(name) && allowed.has(name))
      .map(({ name, description }) => ({ name, description, required: required.has(name) }))
    return scopes.length > 0 ? [{ identifier, name: api.name, scopes }] : []
  })
}

/** `https://app.example`, or the scheme of a native application's address (`com.example.app:`). */
function originOf(redirectUri: string): string {
  const url = new URL(redirectUri)
  return url.origin === 'null' ? url.protocol : url.origin
}

const askedFor = (hint: string | undefined): string | undefined =>
  hint?.startsWith(impersonationHint) ? hint.slice(impersonationHint.length) : undefined
const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)
function words(value: unknown): string[] {
  if (Array.isArray(value)) return value.filter((item) => typeof item === 'string')
  return typeof value === 'string' ? value.split(' ').filter(Boolean) : []
}
