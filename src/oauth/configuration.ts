// Every option of the engine, answered. What is not named here is off by the engine's own default and was checked to be harmless.
// Grouped as a reader asks: what may be requested, who may ask, what is issued and for how long, what people see.
import { type AdapterFactory, type Configuration, errors, type KoaContextWithOIDC } from 'oidc-provider'
import { holdingsOf } from '#src/access/holdings.ts'
import type { Config } from '#src/config.ts'
import type { Database } from '#src/db/database.ts'
import { acrValues } from '#src/factors/assurance.ts'
import { cookieNames } from '#src/http/cookies.ts'
import { languages } from '#src/http/i18n.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { claimsOfScopes, createFindAccount } from './claims.ts'
import {
  actorOf,
  atMostUntilItsEnd,
  createFindImpersonation,
  type FindImpersonation,
  isImpersonated,
} from './impersonations.ts'
import { createInteractionPolicy } from './interaction-policy.ts'
import { createIntrospectionPolicy } from './introspection.ts'
import { recordJwt } from './ledger.ts'
import type { EnginePages } from './pages.ts'
import { dpopAlgorithms } from './possession.ts'
import { createRememberedDevices } from './remembered-devices.ts'
import { keepSignInClaims } from './requested-acr.ts'
import { createResources, permissionsHeld } from './resources.ts'
import { createLoadExistingGrant } from './session-grants.ts'
import { engineKey } from './signing-key.ts'
import type { Snapshot } from './snapshot.ts'

const defaultAccessTokenTtl = 900

export type ConfigurationDeps = {
  config: Config
  database: Database
  secretKeys: SecretKeys
  snapshot: Snapshot
  pages: EnginePages
  adapter: AdapterFactory
  now: () => Date
}

export function createConfiguration(deps: ConfigurationDeps): Configuration {
  const { config, database, secretKeys, snapshot, pages, adapter } = deps
  const findImpersonation = createFindImpersonation(deps)
  const epoch = () => Math.floor(deps.now().getTime() / 1000)
  const names = cookieNames(config)
  const cookie = { httpOnly: true, sameSite: 'lax', signed: true, secure: config.https, overwrite: true } as const
  const fapi2 = (clientId: string | undefined) =>
    clientId !== undefined && snapshot.knownClient(clientId)?.profile === 'fapi2'

  return {
    adapter,

    // -- what may be requested
    responseTypes: ['code'], // no implicit, no hybrid: tokens never travel in an address (RFC 9700 2.1.2)
    pkce: { required: () => true }, // RFC 9700 2.1.1, confidential clients too; the engine knows S256 only
    allowOmittingSingleRegisteredRedirectUri: false, // OAuth 2.1: always sent, always compared as strings
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    claims: claimsOfScopes,
    conformIdTokenClaims: true, // OIDC Core 5.4: profile claims come from userinfo
    acceptQueryParamAccessTokens: false, // RFC 9700 4.3.2: addresses end up in logs
    enableHttpPostMethods: false, // POST /oauth/authorize is turned into GET in oauth/pages.ts, so that cookies stay SameSite=Lax
    subjectTypes: ['public'],
    acrValues: [...acrValues],
    extraParams: [],

    // -- who may ask
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'], // no HMAC: secrets are hashes here
    clientDefaults: {
      grant_types: ['authorization_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
      id_token_signed_response_alg: 'ES256',
    },
    clientBasedCORS: (_ctx, origin, client) =>
      // Browsers call as public clients only, and only from where their redirect URIs live; never the opaque origin "null".
      origin !== 'null' &&
      client.tokenEndpointAuthMethod === 'none' &&
      (client.redirectUris ?? []).some((uri) => URL.parse(uri)?.origin === origin),
    enabledJWA: {
      clientAuthSigningAlgValues: ['ES256', 'EdDSA', 'PS256'],
      idTokenSigningAlgValues: ['ES256', 'EdDSA', 'RS256'], // RS256 for relying parties that know nothing else
      dPoPSigningAlgValues: dpopAlgorithms,
    },
    clockTolerance: 15,
    fetchResponseBodyLimits: { jwks_uri: 65_536, sector_identifier_uri: 65_536 },
    // No client field names an address to fetch. Whoever adds one adds an address-checking fetch with it (threats: SSRF).
    fetch: () => Promise.reject(new Error('outgoing requests are off')),

    // -- what is issued
    jwks: { keys: snapshot.keys.map(({ signer }) => engineKey(signer)) },
    formats: { bitsOfOpaqueRandomness: 256, customizers: { jwt: recordJwt } },
    // RFC 9470 6: an API learns how strongly and when the person signed in, from the token or from introspection.
    extraTokenClaims: async (ctx, token) => {
      const signIn = await signInOf(ctx, token, findImpersonation)
      const held = await heldClaims(database, snapshot, token)
      return signIn || held ? { ...signIn, ...held } : undefined
    },
    // Whoever may use the grant gets a refresh token: bound to the session, or outliving logout with offline_access.
    issueRefreshToken: async (_ctx, client, source) =>
      client.grantTypeAllowed('refresh_token') && !isImpersonated(source),
    expiresWithSession: async (_ctx, source) => !source.scopes.has('offline_access') || isImpersonated(source),
    rotateRefreshToken: (ctx) => !fapi2(ctx.oidc.client?.clientId), // FAPI 2.0 5.3.2.1: no rotation there
    // Revoking an access token ends that token (RFC 7009 2.1); everything else that revokes ends the grant.
    revokeGrantPolicy: (ctx) => !(ctx.oidc.route === 'revocation' && ctx.oidc.entities.AccessToken),
    ttl: {
      AccessToken: (ctx, token) =>
        atMostUntilItsEnd(
          token.resourceServer?.accessTokenTTL ?? defaultAccessTokenTtl,
          ctx.oidc.entities.AuthorizationCode,
          epoch(),
        ),
      ClientCredentials: (_ctx, token) => token.resourceServer?.accessTokenTTL ?? defaultAccessTokenTtl,
      AuthorizationCode: 60, // RFC 9700 4.5: the shorter, the better; ASVS 10.4.3
      IdToken: (ctx) => atMostUntilItsEnd(3600, ctx.oidc.entities.AuthorizationCode, epoch()),
      Interaction: 1800,
      // An end that no rotation moves (RFC 9700 4.14.2): counted from the first token of the family.
      // Within it, every rotation begins a new idle time; a repeat does not, for the row of its successor is there already.
      RefreshToken: (_ctx, token, client) => {
        const rest = (token.iiat ?? epoch()) + refreshTtl(snapshot, client.clientId) - epoch()
        const idle = snapshot.knownClient(client.clientId)?.refreshTokenIdleTtlSeconds ?? rest
        return Math.max(1, Math.min(rest, idle))
      },
      // The grant outlives what hangs from it.
      Grant: (_ctx, grant) => refreshTtl(snapshot, grant.clientId ?? '') + config.sessionTtlSeconds,
      // Counted from the sign-in, so that use does not prolong it (ASVS 7.3.2).
      Session: (_ctx, session) =>
        atMostUntilItsEnd(
          Math.max(1, (session.loginTs ?? epoch()) + config.sessionTtlSeconds - epoch()),
          { acr: session.acr, authTime: session.loginTs },
          epoch(),
        ),
    },

    // -- features
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      userinfo: { enabled: true },
      claimsParameter: { enabled: true, assertClaimsParameter: keepSignInClaims },
      introspection: { enabled: true, allowedPolicy: createIntrospectionPolicy(snapshot) },
      revocation: {
        enabled: true,
        allowedPolicy: async (_ctx, client, token) => {
          // RFC 7009 2.1: "if this validation fails, the request is refused and the client is informed of the error".
          if (token.clientId !== client.clientId)
            throw new errors.InvalidRequest('the token was issued to another client')
          return true
        },
      },
      resourceIndicators: createResources(snapshot, permissionsHeld(database)),
      // The engine asks for signatures (signing-key.ts) and holds no private half. Experimental there, so it wants to be told by its version.
      externalSigningSupport: { enabled: true, ack: 'experimental-01' },
      pushedAuthorizationRequests: { enabled: true }, // RFC 9126; required per client by its profile
      dPoP: { enabled: true, nonceSecret: secretKeys.mac('dpop-nonce') }, // the same nonces on every process (RFC 9449 8)
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: pages.logout,
        postLogoutSuccessSource: pages.loggedOut,
      },
    },

    // -- what people see
    findAccount: createFindAccount(database, findImpersonation),
    loadExistingGrant: createLoadExistingGrant(database),
    interactions: {
      policy: createInteractionPolicy({ database, snapshot, remembered: createRememberedDevices(deps) }),
      url: (_ctx, interaction) => `/interaction/${interaction.uid}`,
    },
    renderError: pages.error,
    cookies: {
      keys: [...secretKeys.cookieKeys],
      names: { session: names.session, interaction: names.interaction, resume: names.resume },
      long: cookie,
      short: cookie,
    },
    discovery: { claims_locales_supported: undefined, ui_locales_supported: languages.map(({ code }) => code) },
    routes: {
      authorization: '/oauth/authorize',
      pushed_authorization_request: '/oauth/par',
      token: '/oauth/token',
      revocation: '/oauth/revoke',
      introspection: '/oauth/introspect',
      userinfo: '/oauth/userinfo',
      jwks: '/oauth/jwks',
      end_session: '/oauth/logout',
      registration: '/oauth/register',
      device_authorization: '/oauth/device',
      code_verification: '/device',
      backchannel_authentication: '/oauth/backchannel',
    },
  }
}

/** What the code or the refresh token that is being redeemed remembers of the sign-in. */
async function signInOf(
  ctx: KoaContextWithOIDC,
  token: { kind: string },
  findImpersonation: FindImpersonation,
): Promise<{ acr: string; auth_time: number } | { act: { sub: string } } | undefined> {
  if (token.kind !== 'AccessToken') return undefined
  const { AuthorizationCode, RefreshToken } = ctx.oidc.entities
  const { acr, authTime } = AuthorizationCode ?? RefreshToken ?? {}
  const act = await actorOf(findImpersonation, AuthorizationCode ?? RefreshToken)
  if (act) return { act } // nobody of that name signed in: neither how strongly nor when
  return acr === undefined || authTime === undefined ? undefined : { acr, auth_time: authTime }
}

/** What an API asked to be told of the person. It is as old as the token: whatever must not be asks (docs/access.md). */
async function heldClaims(
  database: Database,
  snapshot: Snapshot,
  token: { kind: string; accountId?: string; aud?: string | string[] },
): Promise<{ roles?: string[]; permissions?: string[] } | undefined> {
  const api = typeof token.aud === 'string' ? snapshot.apis.get(token.aud) : undefined
  if (!api || api.tokenClaims.length === 0 || token.kind !== 'AccessToken' || token.accountId === undefined)
    return undefined
  const { roles, permissions } = await holdingsOf(database, { kind: 'user', id: token.accountId }, api.identifier)
  return {
    ...(api.tokenClaims.includes('roles') && { roles: [...roles].sort() }),
    ...(api.tokenClaims.includes('permissions') && { permissions: [...permissions].sort() }),
  }
}

function refreshTtl(snapshot: Snapshot, clientId: string): number {
  return snapshot.knownClient(clientId)?.refreshTokenTtlSeconds ?? 1_209_600
}
