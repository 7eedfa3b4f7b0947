// Both doors in their order, for everything of ours that programs call (the admin API, AuthZEN, receipts): who are you, or 400 and 401; may
// you do this, or 403. A caller who is not identified never sees a 403, and every refusal leaves a receipt.
//
//   read the credential -> is its address out of failures -> whom does it stand for -> decide -> receipt -> go on, or the words of the RFCs
import { hash } from 'node:crypto'
import type { Context } from 'koa'
import {
  type DecideDeps,
  decideRequirements,
  effectiveScopes,
  type Requirements,
  type Subject,
  shownBy,
} from '#src/access/decide.ts'
import { type Reason, type Refused, stopped } from '#src/access/gates.ts'
import { holdingsOf } from '#src/access/holdings.ts'
import type { ApiRecord } from '#src/apis/apis.ts'
import { acrValues, levelOf, reaches } from '#src/factors/assurance.ts'
import { accessDenied, forbidden, stepUp, tooMany, unidentified, unproven } from '#src/http/challenges.ts'
import { clientCertificateOf } from '#src/http/client-certificate.ts'
import { type Credential, headerValues, readCredential } from '#src/http/credentials.ts'
import { HttpError } from '#src/http/http-error.ts'
import type { RateLimits } from '#src/http/rate-limits.ts'
import { requestOf } from '#src/http/request-context.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { type IdentifyDeps, identify } from './identify.ts'
import { dpopAlgorithms, type Possession } from './possession.ts'
import type { Receipts } from './receipts.ts'
import type { Visitor } from './visitors.ts'

export type TwoDoors = Readonly<{
  /** The API whose doors these are. */
  api(): ApiRecord
  /** @returns who came through both. @throws HttpError 400, 401, 403, 429 */
  enter(ctx: Context, needed: Omit<Requirements, 'api'>): Promise<Entered>
  /** The same for a person at one of our own pages, where the browser session (visitors.ts) was the first door. What they may do here is
   *  whatever their roles carry: nobody gave a session scopes.
   *  @throws HttpError 403, of which a page is made */
  enterPerson(ctx: Context, visitor: Visitor, needed: Omit<Requirements, 'api'>): Promise<Entered>
  /** What a subject who came through may do here, at this moment. */
  scopesOf(subject: Subject): Promise<ReadonlySet<string>>
  /** @returns the refusal of RFC 6750 3.1. */
  forbidden(scope: string): HttpError
}>

export type Entered = Readonly<{
  subject: Subject
  /** Whom a record names: of an API key the key, not its owner. */
  actor: { kind: 'user' | 'client' | 'api_key'; id: string }
}>

export type TwoDoorsDeps = IdentifyDeps &
  DecideDeps & {
    /** The API whose doors these are. */
    api: () => ApiRecord
    issuer: string
    rateLimits: RateLimits
    receipts: Receipts
  }

export function createTwoDoors(deps: TwoDoorsDeps): TwoDoors {
  const { api: apiOf, issuer, rateLimits, receipts } = deps
  return {
    api: apiOf,
    async enter(ctx, needed) {
      const api = apiOf()
      const realm = api.identifier
      const credential = readCredential(ctx)
      if (credential.kind === 'none') {
        receipts.write(ctx, stopped('none'), { api: realm })
        throw unidentified(realm, undefined)
      }
      const who = credentialKey(credential)
      const wait = rateLimits.waitOf(ctx, who)
      if (wait > 0) {
        rateLimits.refused(ctx, 'unidentified')
        throw tooMany(wait)
      }
      const found = await identify(
        deps,
        credential,
        api,
        possessionOf(ctx, { method: ctx.method, url: issuer + ctx.path }),
      )
      if (!found.subject) {
        rateLimits.failed(ctx)
        receipts.write(ctx, found.refused, { api: realm, clientId: found.owner })
        requestOf(ctx).log.info({ event: 'credential.refused', kind: credential.kind, reason: found.refused.reason })
        throw notIdentified(deps, realm, credential, found.refused.reason)
      }
      rateLimits.succeeded(ctx, who)
      const { subject, owner, actor } = found
      const pause = subject.credential?.key ? rateLimits.spendKey(subject.credential.key) : 0
      if (pause > 0) {
        rateLimits.refused(ctx, 'api_key', owner)
        throw tooMany(pause, 'This API key may not be used more often in a minute. Come back later.')
      }
      // Who acts as somebody else may see what they see elsewhere, and does nothing here.
      const decision =
        subject.credential?.impersonatorId === undefined
          ? await decideRequirements(deps, subject, { ...needed, api })
          : stopped('impersonated')
      receipts.write(ctx, decision, { subject, clientId: owner, api: realm, action: needed.scopes.join(' ') })
      if (!decision.allowed) {
        refused(actor, owner, decision)
        throw refusalOf(realm, decision, needed, credential)
      }
      return { subject, actor }
    },
    async enterPerson(ctx, visitor, needed) {
      const api = apiOf()
      const subject = personAt(api, visitor)
      const actor = { kind: 'user', id: visitor.userId } as const
      const decision = visitor.acting
        ? stopped('impersonated')
        : await decideRequirements(deps, subject, { ...needed, api })
      receipts.write(ctx, decision, { subject, api: api.identifier, action: needed.scopes.join(' ') })
      if (decision.allowed) return { subject, actor }
      refused(actor, undefined, decision)
      throw new HttpError({
        status: 403,
        error: 'access_denied',
        description: visitor.acting
          ? 'You are acting as somebody else: nobody administers this server in another name.'
          : `This needs ${decision.needs.join(' ')}, which none of your roles carries.`,
        headers: { 'X-Decision-Id': requestOf(ctx).requestId },
        screen: 'forbidden',
      })
    },
    scopesOf: async (subject) => {
      const api = apiOf()
      return effectiveScopes(api, shownBy(subject), await holdingsOf(deps.database, subject, api.identifier))
    },
    forbidden: (scope) => forbidden(apiOf().identifier, scope),
  }
}

function personAt(api: ApiRecord, { userId, amr, loginAt }: Visitor): Subject {
  return {
    kind: 'user',
    id: userId,
    credential: {
      method: 'session',
      clientId: undefined,
      scopes: new Set(api.scopes.map(({ name }) => name)),
      acrValues: acrValues.filter((value) => reaches(levelOf(amr), value)),
      amr,
      authenticatedAt: loginAt,
      expiresAt: undefined,
    },
  }
}

function refused(actor: Entered['actor'], clientId: string | undefined, { reason, needs }: Refused): void {
  currentUnit().audit({
    event: 'token.refused',
    outcome: 'failure',
    actor,
    clientId,
    detail: { reason, needs: [...needs] },
  })
}

/** Who was right before is known by what they showed, without keeping it. */
export function credentialKey(credential: Credential): string {
  return `api ${hash('sha256', JSON.stringify(credential), 'base64url')}`
}

/** @param request as its sender addressed it. */
export function possessionOf(ctx: Context, request: Pick<Possession, 'method' | 'url'>): Possession {
  return { ...request, proofs: headerValues(ctx, 'dpop'), certificate: clientCertificateOf(ctx) }
}

/** The words of the RFCs for a refusal at the first door, of a credential that was shown. */
export function notIdentified(
  { possessions }: Pick<IdentifyDeps, 'possessions'>,
  realm: string,
  { kind }: Credential,
  reason: Reason,
): HttpError {
  const algorithms = dpopAlgorithms
  if (reason === 'stale_proof') return unproven(realm, 'use_dpop_nonce', { algorithms, nonce: possessions.nonce() })
  if (reason === 'bad_proof' || reason === 'used_proof') return unproven(realm, 'invalid_dpop_proof', { algorithms })
  // A token without its proof: as Bearer it is none (RFC 9449 7.1), as DPoP the proof is missing.
  if (reason === 'bound_to_key')
    return unproven(realm, kind === 'dpop' ? 'invalid_dpop_proof' : 'invalid_token', { algorithms })
  return kind === 'dpop' ? unproven(realm, 'invalid_token', { algorithms }) : unidentified(realm, 'invalid_token')
}

/** The words of the RFCs for a refusal at the second door. What the gate was in detail is for the receipt. */
export function refusalOf(
  realm: string,
  decision: Refused,
  needed: Omit<Requirements, 'api'>,
  { kind }: Pick<Credential, 'kind'>,
): HttpError {
  const scheme = kind === 'dpop' ? 'DPoP' : 'Bearer'
  if (decision.gate === 'scope') return forbidden(realm, needed.scopes.join(' '), scheme)
  if (decision.gate === 'found') return unidentified(realm, 'invalid_token') // switched off since the token was found
  if (decision.gate === 'step_up') return stepUp(realm, needed, scheme)
  return accessDenied()
}
