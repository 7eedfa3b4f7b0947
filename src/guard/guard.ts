// What an API puts in front of its handlers, published as `sallyport/guard`. It stands alone: nothing of the server is in it, and
// nothing of any framework; koa.ts, express.ts, fetch.ts and node.ts carry requests in and answers out.
//
// Two doors, in this order, on every request:
//   authenticate   who are you?      one credential -> known, in date, for us, bound to what it says, not revoked -> a Caller
//   authorize      may you do this?  scopes, then the strength of the sign-in
//   requireCan     may you do this to that?  the server's roles, policies and relations
//   requireOwner   is it yours?              the API's own rows
// Whoever is not identified hears 400 or 401, never 403.
import { createBinding, type RememberProof, rememberProofs } from './binding.ts'
import { type AuthMethod, type Caller, callerFrom } from './caller.ts'
import { type Credential, type GuardRequest, readCredential } from './credential.ts'
import { createEvaluation, type ObjectRef } from './evaluation.ts'
import { createIntrospection } from './introspection.ts'
import { createIssuer, safeAddress } from './issuer.ts'
import { createJwtVerifier } from './jwt.ts'
import { describeResource, type ResourceMetadata } from './metadata.ts'
import { createNonces, type NonceOptions } from './nonces.ts'
import { createAnswers, Refused } from './refused.ts'
import { createRequirementCheck, type Requirements, sallyportLevels } from './requirements.ts'
import { followRevocations, type Revocations } from './revocations.ts'

export type { AuthMethod, Caller, GuardRequest, NonceOptions, ObjectRef, RememberProof, Requirements, ResourceMetadata }
export { Refused }

export type GuardOptions = Readonly<{
  /** As it stands in `iss`. */
  issuer: string
  /** The API's identifier (RFC 8707): tokens for any other are refused. */
  audience: string
  /** Where callers reach the API, with the path that a proxy in front takes away. DPoP and RFC 9728 need it: a Host header is written by
   *  whoever sends the request. */
  publicUrl?: string
  realm?: string
  /** Default: every kind that can be checked here; the server knows which of them the API takes. */
  accept?: readonly Exclude<AuthMethod, 'session'>[]
  /** The client that asks the server about credentials and permissions. `never`: JWTs only, and no `can`. Default: never.
   *  @param jwts true: JWTs are asked about as well, so that a revocation counts at once.
   *  @param cacheSeconds how long a yes is repeated without asking. Default 0. */
  introspection?: 'never' | Readonly<{ clientId: string; clientSecret: string; jwts?: boolean; cacheSeconds?: number }>
  /** Follows the feed of revoked JWTs, with an API key that has `revocations:read`.
   *  @param patienceSeconds without news for so long (default 5) requests get 503.
   *  @param goOnBlind true: go on with what is known instead. */
  revocations?: Readonly<{ apiKey: string; patienceSeconds?: number; goOnBlind?: boolean }>
  /** Of JWTs, and of DPoP proofs. Default ES256, EdDSA, RS256. */
  algorithms?: readonly string[]
  /** Default: optional where `publicUrl` is known, else never. */
  dpop?: 'never' | 'optional' | 'required'
  /** Proofs must carry a nonce of this API (RFC 9449 9): none can be made in advance, and no clock of a caller matters. Default: none is asked for. */
  dpopNonce?: NonceOptions
  /** Where proofs are remembered. Default: in this process, 100,000 of them; several processes share a store. */
  rememberProof?: RememberProof
  /** True: 404 in place of 403 for objects. */
  hideExistence?: boolean
  /** Default 5. */
  clockToleranceSeconds?: number
  /** Values of `acr`, from weak to strong. Default: Sallyport's. */
  levels?: readonly string[]
  /** Names in the query that look like credentials and are the API's own, such as `token`. */
  ownParameters?: readonly string[]
  /** More of RFC 9728 2: `scopes_supported`, `resource_name`, `resource_documentation`. */
  metadata?: Readonly<Record<string, unknown>>
  /** For each question to the server. Default 3. */
  timeoutSeconds?: number
  /** Told about the server's troubles, at most once a second. Default: a warning of the process. */
  onTrouble?: (trouble: Error) => void
  fetch?: typeof fetch
  /** Epoch milliseconds. */
  now?: () => number
}>

export type Guard = Readonly<{
  /** The first door. @throws Refused 400, 401, 503 */
  authenticate(request: GuardRequest): Promise<Caller>
  /** What belongs on whatever the answer to this caller is, refusals included: now and then their next nonce. The adapters do it. */
  headersFor(caller: Caller): Readonly<Record<string, string>>
  /** The second door. What names nothing lets any identified caller through. @throws Refused 401, 403 */
  authorize(caller: Caller | undefined, requirements?: Requirements): void
  /** Asks the server about this object. False also where the credential lacks a scope of the action's name. @throws Refused 401, 503 */
  can(
    caller: Caller | undefined,
    action: string,
    object: ObjectRef,
    context?: Readonly<Record<string, unknown>>,
  ): Promise<boolean>
  /** @throws Refused 401; 403 insufficient_scope; 403, or 404 with hideExistence; 503 */
  requireCan(
    caller: Caller | undefined,
    action: string,
    object: ObjectRef,
    context?: Readonly<Record<string, unknown>>,
  ): Promise<void>
  owns(caller: Caller | undefined, ownerId: string | null | undefined): boolean
  /** @param row undefined or null where there is none: 404. @returns the row, if it is the caller's.
   *  @throws Refused 401; 403, or 404 with hideExistence */
  requireOwner<Row>(
    caller: Caller | undefined,
    row: Row | null | undefined,
    ownerOf: (row: Row) => string | null | undefined,
  ): Row
  /** RFC 9728; undefined without `publicUrl`. */
  resource: ResourceMetadata | undefined
  /** Returns once the issuer was found and, where revocations are followed, all of them are known: the moment to begin to listen. */
  ready(): Promise<void>
  /** Stops following revocations. */
  close(): void
}>

const asymmetric = /^(?:ES256|ES384|ES512|RS256|RS384|RS512|PS256|PS384|PS512|EdDSA|Ed25519)$/

/** @throws TypeError for settings that would not be safe. */
export function createGuard(options: GuardOptions): Guard {
  const { issuer: issuerUrl, audience, hideExistence = false, clockToleranceSeconds: toleranceSeconds = 5 } = options
  const { now = Date.now, algorithms = ['ES256', 'EdDSA', 'RS256'] } = options
  const publicUrl = options.publicUrl?.replace(/\/$/, '')
  const dpop = options.dpop ?? (publicUrl === undefined ? 'never' : 'optional')
  const introspection = options.introspection === 'never' ? undefined : options.introspection
  const kinds = introspection ? (['oauth', 'api_key', 'basic'] as const) : (['oauth'] as const)
  const accept = new Set<AuthMethod>(options.accept ?? kinds)
  checkOptions({ ...options, algorithms, dpop, accept, asks: introspection !== undefined })

  const resource = describeResource({
    publicUrl,
    audience,
    issuer: issuerUrl,
    dpop: dpop === 'never' ? undefined : { required: dpop === 'required', algorithms },
    more: options.metadata ?? {},
  })
  const answers = createAnswers({
    realm: options.realm,
    metadataUrl: resource?.url,
    bearer: dpop !== 'required',
    dpopAlgorithms: dpop === 'never' ? undefined : algorithms,
    hideExistence,
  })
  const timeoutMs = 1000 * (options.timeoutSeconds ?? 3)
  const issuer = createIssuer({ issuer: issuerUrl, timeoutMs, fetch: options.fetch ?? fetch, now })
  const report = atMostEachSecond(options.onTrouble ?? ((trouble) => process.emitWarning(trouble)), now)
  const timing = { toleranceSeconds, now }
  const verifyJwt = createJwtVerifier({ issuer: issuerUrl, audience, keys: issuer.keys, algorithms, ...timing })
  const introspect =
    introspection && createIntrospection({ issuer, audience, cacheSeconds: 0, ...introspection, ...timing })
  const evaluate = introspection && createEvaluation({ issuer, audience, ...introspection })
  const checkBinding = createBinding({
    dpop,
    publicUrl,
    algorithms,
    remember: options.rememberProof ?? rememberProofs(100_000, now),
    nonces: options.dpopNonce && createNonces(options.dpopNonce, { audience, ...timing }),
    answers,
    ...timing,
  })
  const checkRequirements = createRequirementCheck({ answers, levels: options.levels ?? sallyportLevels, ...timing })
  const revocations = options.revocations && createFollower(issuerUrl, options.revocations, options.fetch, report)
  const nextNonces = new WeakMap<Caller, string>()
  const ownParameters = new Set(options.ownParameters?.map((name) => name.toLowerCase()))

  async function authenticate(request: GuardRequest): Promise<Caller> {
    const credential = readCredential(request, answers, ownParameters)
    try {
      return await identify(request, credential)
    } catch (error) {
      throw error instanceof Refused ? error : unavailable(error)
    }
  }

  async function identify(request: GuardRequest, credential: Credential): Promise<Caller> {
    switch (credential.kind) {
      case 'token': {
        const { scheme, value } = credential
        if (!accept.has('oauth') || (scheme === 'DPoP' && dpop === 'never')) throw answers.missing()
        const claims = await claimsOf(credential)
        const { nextNonce } = await checkBinding(request, { value, scheme, cnf: claims.cnf })
        const caller = named(claims, { authMethod: 'oauth', scheme })
        if (nextNonce !== undefined) nextNonces.set(caller, nextNonce)
        return caller
      }
      case 'api_key':
      case 'basic': {
        const scheme = credential.kind === 'api_key' ? credential.scheme : undefined
        if (!introspect || !accept.has(credential.kind))
          throw scheme === undefined ? answers.missing() : answers.invalidToken(scheme)
        const answer = await introspect(credential.value, credential.kind)
        if ('flaw' in answer) throw answers.invalidToken(scheme, answer.flaw)
        return named(answer.claims, { authMethod: credential.kind, scheme })
      }
      default:
        throw answers.missing()
    }
  }

  async function claimsOf(token: { scheme: 'Bearer' | 'DPoP'; value: string }): Promise<Record<string, unknown>> {
    const { scheme, value } = token
    const isJwt = value.includes('.')
    if (introspect && (!isJwt || (introspection as { jwts?: boolean }).jwts)) {
      const answer = await introspect(value, 'oauth')
      if ('flaw' in answer) throw answers.invalidToken(scheme, answer.flaw)
      return answer.claims
    }
    const answer = await verifyJwt(value)
    if ('flaw' in answer) throw answers.invalidToken(scheme, answer.flaw)
    if (revocations && (await revocations.isRevoked(answer.claims))) throw answers.invalidToken(scheme, 'revoked')
    return answer.claims
  }

  function named(claims: Readonly<Record<string, unknown>>, how: Pick<Caller, 'authMethod' | 'scheme'>): Caller {
    const caller = callerFrom(claims, how)
    if (!caller) throw answers.invalidToken(how.scheme, 'it names nobody')
    return caller
  }

  /** A handler that nobody authenticated for is refused like a request without a credential: never with 403. */
  function identified(caller: Caller | undefined): Caller {
    if (!caller) throw answers.missing()
    return caller
  }

  async function can(...[caller, action, object, context]: Parameters<Guard['can']>): Promise<boolean> {
    const known = identified(caller)
    if (!evaluate) throw new TypeError('can() asks the server, and for that `introspection` names a client')
    return evaluate(known, action, object, context).catch((error: unknown) => {
      throw unavailable(error)
    })
  }

  function unavailable(cause: unknown): Refused {
    report(cause instanceof Error ? cause : new Error(String(cause)))
    return answers.unavailable(cause)
  }

  return {
    authenticate,
    headersFor(caller): Record<string, string> {
      const nonce = nextNonces.get(caller)
      // RFC 9449 8.2: an answer that is kept would hand out a nonce of long ago.
      return nonce === undefined ? {} : { 'dpop-nonce': nonce, 'cache-control': 'no-store' }
    },
    authorize(caller, requirements = {}) {
      checkRequirements(identified(caller), requirements)
    },
    can,
    async requireCan(caller, action, object, context) {
      checkRequirements(identified(caller), { scopes: [action] })
      if (!(await can(caller, action, object, context))) throw answers.forbidden()
    },
    owns: (caller, ownerId) => isOwner(identified(caller), ownerId),
    requireOwner(caller, row, ownerOf) {
      const known = identified(caller)
      if (row === undefined || row === null) throw answers.notFound()
      if (!isOwner(known, ownerOf(row))) throw answers.forbidden()
      return row
    },
    resource,
    async ready() {
      await Promise.all([issuer.discover(), revocations?.ready()])
    },
    close: () => revocations?.stop(),
  }
}

function isOwner(caller: Caller, ownerId: string | null | undefined): boolean {
  return typeof ownerId === 'string' && ownerId !== '' && ownerId === caller.id
}

/** Starts with the first question, so that creating a guard does nothing; tries again while the feed cannot be read. */
function createFollower(
  issuer: string,
  options: NonNullable<GuardOptions['revocations']>,
  ask: typeof fetch | undefined,
  report: (trouble: unknown) => void,
) {
  const { apiKey, patienceSeconds = 5, goOnBlind = false } = options
  let following: Promise<Revocations> | undefined
  let failedAt = 0

  function follow(): Promise<Revocations> {
    if (following === undefined || (failedAt > 0 && Date.now() - failedAt > 1_000)) {
      failedAt = 0
      following = followRevocations(issuer, apiKey, {
        patienceMs: patienceSeconds * 1000,
        report,
        ...(ask && { fetch: ask }),
      })
      following.catch(() => {
        failedAt = Date.now()
      })
    }
    return following
  }

  return {
    async isRevoked(claims: Record<string, unknown>): Promise<boolean> {
      const known = await follow()
      if (known.isBlind() && !goOnBlind) throw new Error('what was revoked cannot be read')
      return known.isRevoked(claims)
    },
    async ready(): Promise<void> {
      await follow()
    },
    stop(): void {
      following?.then((known) => known.stop()).catch(() => undefined)
    },
  }
}

function checkOptions(options: {
  issuer: string
  audience: string
  publicUrl?: string
  algorithms: readonly string[]
  dpop: 'never' | 'optional' | 'required'
  dpopNonce?: NonceOptions
  accept: ReadonlySet<AuthMethod>
  asks: boolean
}): void {
  const { issuer, audience, publicUrl, algorithms, dpop, dpopNonce, accept, asks } = options
  safeAddress(issuer)
  if (audience === '') throw new TypeError('audience must be the identifier of the API')
  if (publicUrl !== undefined && !/^https?:$/.test(new URL(publicUrl).protocol))
    throw new TypeError('publicUrl must be an http or https address')
  const weak = algorithms.find((name) => !asymmetric.test(name))
  if (weak !== undefined || algorithms.length === 0)
    throw new TypeError(`algorithms must be signatures with a public key; ${weak ?? 'none'} is not`)
  if (dpop !== 'never' && publicUrl === undefined) throw new TypeError('DPoP needs publicUrl')
  if (dpop === 'never' && dpopNonce) throw new TypeError('dpopNonce needs DPoP, and that publicUrl')
  if (accept.size === 0) throw new TypeError('accept names no credential')
  const unknown = [...accept].find((kind) => kind !== 'oauth' && !asks)
  if (unknown !== undefined) throw new TypeError(`accept: ${unknown} needs introspection`)
}

function atMostEachSecond(tell: (trouble: Error) => void, now: () => number): (trouble: unknown) => void {
  let toldAt = Number.NEGATIVE_INFINITY
  return (trouble) => {
    if (now() - toldAt < 1_000) return
    toldAt = now()
    tell(trouble instanceof Error ? trouble : new Error(String(trouble)))
  }
}
