// The bridge between the engine's pending authorization request and the screens in src/interaction. A screen loads the request,
// asks the person, and completes it here; the answer is an address to send the browser to with 303.
//
// Order of events of a sign-in: /oauth/authorize stores the request and sends the browser to /interaction/:uid -> login ->
// completeLogin -> /oauth/authorize/:uid resumes, the session begins -> /interaction/:uid again for consent -> completeConsent ->
// resume -> the code leaves for the client.
import type { Context } from 'koa'
import type Provider from 'oidc-provider'
import { errors } from 'oidc-provider'
import { openidScopes } from '#src/apis/scope-names.ts'
import { ownClientId } from '#src/clients/own-client.ts'
import type { ClientRecord } from '#src/clients/settings.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import type { ProviderSource } from './provider.ts'
import { applyAnswer, newGrant } from './session-grants.ts'
import { allowedScopes, type Snapshot } from './snapshot.ts'

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
    policyUri: string | null
    tosUri: string | null
  }
  /** Where the browser goes afterwards. */
  redirectOrigin: string
  /** The signed-in person; always there for consent. */
  userId: string | undefined
  loginHint: string | undefined
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
    who: { userId: string; amr: readonly string[] },
  ): Promise<string>
  completeConsent(
    ctx: Context,
    pending: PendingInteraction,
    allowed: { openid: readonly string[]; resources: Readonly<Record<string, readonly string[]>> },
  ): Promise<string>
  deny(ctx: Context, pending: PendingInteraction): Promise<string>
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
      return {
        uid,
        prompt: prompt.name,
        reasons: prompt.reasons,
        client: pickClient(record),
        redirectOrigin: originOf(String(params.redirect_uri)),
        userId: session?.accountId,
        loginHint: text(params.login_hint),
        uiLocales: words(params.ui_locales),
        openidScopes: asked.filter((scope) => openid.has(scope)).map((name) => ({ name, required: name === 'openid' })),
        resources: describeResources(snapshot, record, words(params.resource), asked),
      }
    },

    async completeLogin(ctx, pending, { userId, amr }) {
      const { provider } = source.current()
      await find(provider, ctx, pending.uid)
      return provider.interactionResult(
        ctx.req,
        ctx.res,
        { login: { accountId: userId, amr: [...amr], remember: true } },
        { mergeWithLastSubmission: false },
      )
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
      for (const { identifier, scopes } of pending.resources)
        for (const { name, required } of scopes) {
          const side = required || allowed.resources[identifier]?.includes(name) ? given : left
          side.resourceScopes[identifier] = [...(side.resourceScopes[identifier] ?? []), name]
        }
      const agreed = applyAnswer(grant, given, left)
      const grantId = await grant.save()

      // `prompt=consent` in a link that somebody made up: there is no client to remember anything for.
      if (pending.client.id !== ownClientId)
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

function pickClient({ id, name, clientUri, logoUri, policyUri, tosUri }: ClientRecord): PendingInteraction['client'] {
  return { id, name, clientUri, logoUri, policyUri, tosUri }
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
    const scopes = api.scopes
      .filter(({ name }) => asked.includes(name) && allowed.has(name))
      .map(({ name, description }) => ({ name, description, required: false }))
    return scopes.length > 0 ? [{ identifier, name: api.name, scopes }] : []
  })
}

/** `https://app.example`, or the scheme of a native application's address (`com.example.app:`). */
function originOf(redirectUri: string): string {
  const url = new URL(redirectUri)
  return url.origin === 'null' ? url.protocol : url.origin
}

const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)
function words(value: unknown): string[] {
  if (Array.isArray(value)) return value.filter((item) => typeof item === 'string')
  return typeof value === 'string' ? value.split(' ').filter(Boolean) : []
}
