// The engine and its life. It takes keys, scopes, claims and features only in its constructor, so it is immutable here too: one
// is built for each version of the configuration and the reference is swapped. Requests in flight finish on the one they began
// with. When the database is away, the last one goes on serving discovery and keys.
import type { Middleware } from 'koa'
import mount from 'koa-mount'
import Provider, { type Client, errors, type KoaContextWithOIDC } from 'oidc-provider'
import { ownClient } from '#src/clients/own-client.ts'
import { verifyClientSecret } from '#src/clients/secrets.ts'
import type { Config, StoredSettings } from '#src/config.ts'
import { readConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Database } from '#src/db/database.ts'
import { asLevel, reportedAcr } from '#src/factors/assurance.ts'
import { findControlCharacter } from '#src/http/request-checks.ts'
import { impersonationIn } from '#src/impersonation/mark.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import type { Log } from '#src/log.ts'
import { createRecent } from '#src/recent.ts'
import { touchSession } from '#src/tokens/sessions.ts'
import { createAdapter } from './adapter/adapter.ts'
import type { ClientLimits } from './client-limits.ts'
import { toClientMetadata } from './client-metadata.ts'
import { createConfiguration } from './configuration.ts'
import { recordEvents } from './events.ts'
import { registerTokenExchange } from './grants/api-key.ts'
import { createFindImpersonation } from './impersonations.ts'
import { grantSource } from './ledger.ts'
import type { EnginePages } from './pages.ts'
import { requestedAcr } from './requested-acr.ts'
import { installTokenValues } from './rotation.ts'
import { readSnapshot, type Snapshot } from './snapshot.ts'

/** Revocations and disabled clients must be refused everywhere within a second; so must be what configuration says. */
const pollMilliseconds = 400

export type Engine = Readonly<{ provider: Provider; snapshot: Snapshot; middleware: Middleware }>
export type ProviderSource = Readonly<{
  current(): Engine
  /** Reads the configuration again if its version moved; for whoever just changed it. */
  refresh(): Promise<void>
  stop(): void
}>

export type ProviderDeps = {
  /** Follows what is stored. */
  config: Config
  /** Told what is stored, before an engine is built with it. */
  follow(stored: StoredSettings): void
  database: Database
  secretKeys: SecretKeys
  pages: EnginePages
  limits: ClientLimits
  log: Log
  now: () => Date
}

/** @throws SigningKeysUnreadable, or the database's error: there is no serving without a first configuration. */
export async function createProviderSource(deps: ProviderDeps): Promise<ProviderSource> {
  const { config, database, secretKeys, log, follow } = deps
  const read = async () => {
    const snapshot = await readSnapshot(database, secretKeys, [ownClient(config.issuerUrl)])
    follow(snapshot.settings)
    tellIdle()
    return snapshot
  }
  let told = ''
  /** What an operator stored, and wonders why it does nothing. */
  function tellIdle(): void {
    const idle = config.inForce.filter(({ stored, source }) => stored && source !== 'stored').map(({ name }) => name)
    if (idle.length > 0 && told !== idle.join()) log.warn({ event: 'settings.not_in_force', settings: idle })
    told = idle.join()
  }
  let current = buildEngine(await read(), deps)
  let refreshing: Promise<void> | undefined

  const refresh = async () => {
    if ((await readConfigurationVersion(database)) === current.snapshot.version) return
    current = buildEngine(await read(), deps)
    log.info({ event: 'configuration.reloaded', version: String(current.snapshot.version) })
  }
  const refreshOnce = () => {
    refreshing ??= refresh().finally(() => {
      refreshing = undefined
    })
    return refreshing
  }
  // A read that is under way may have begun before the change that the caller means.
  const refreshAfresh = async () => {
    await refreshing?.catch(() => undefined)
    await refreshOnce()
  }
  let failing = false
  const timer = setInterval(() => {
    refreshOnce().then(
      () => {
        failing = false
      },
      (error) => {
        if (!failing) log.warn({ event: 'configuration.poll_failed', err: error }) // once per outage
        failing = true
      },
    )
  }, pollMilliseconds)
  timer.unref()

  return { current: () => current, refresh: refreshAfresh, stop: () => clearInterval(timer) }
}

function buildEngine(snapshot: Snapshot, deps: ProviderDeps): Engine {
  const { config, database, secretKeys, limits, log, now } = deps
  const adapter = createAdapter({
    secretKeys,
    now,
    findClientMetadata: async (clientId) => {
      const record = await snapshot.client(clientId)
      return record && toClientMetadata(record)
    },
    isRefreshing: () => {
      const oidc = Provider.ctx?.oidc
      return oidc?.route === 'token' && oidc.params?.grant_type === 'refresh_token'
    },
    schemeAtUserinfo: () => {
      const ctx = Provider.ctx
      if (ctx?.oidc?.route !== 'userinfo') return undefined
      return /^dpop /i.test(ctx.get('Authorization')) ? 'dpop' : 'bearer'
    },
    endsOneAccessToken: () => {
      const oidc = Provider.ctx?.oidc
      return oidc?.route === 'revocation' && oidc.entities.AccessToken !== undefined
    },
    issuedFor: () => grantSource(Provider.ctx),
    findImpersonation: createFindImpersonation(deps),
    sessionIdleSeconds: config.sessionIdleTtlSeconds,
    sessionUsed: (uid) => {
      touchSession(database, uid).catch((err) => log.warn({ event: 'session.use_lost', err }))
    },
  })
  const provider = new Provider(config.issuerUrl, createConfiguration({ ...deps, snapshot, adapter }))
  provider.proxy = true // what it reads from headers was pinned by http/host.ts
  provider.Client.prototype.compareClientSecret = function (this: { clientId: string }, presented: string) {
    const record = snapshot.knownClient(this.clientId)
    if (record === undefined || !verifyClientSecret(record, presented, now())) return false
    limits.authenticated(this.clientId)
    return true
  }
  // A session is worth what it is worth; a client that asked for less, or for one of several, reads the value that it asked for.
  Object.defineProperty(provider.OIDCContext.prototype, 'acr', {
    get(this: KoaContextWithOIDC['oidc']) {
      if (impersonationIn(this.session?.acr) !== undefined) return this.session?.acr // whatever was asked for: it reaches nothing
      return reportedAcr(asLevel(this.session?.acr), requestedAcr(this.params ?? {})?.values ?? [])
    },
  })
  rememberClients(provider, snapshot, limits)
  installTokenValues(provider, secretKeys, now)
  recordEvents(provider, log)
  registerTokenExchange(provider, { database, snapshot, limits, now })
  return Object.freeze({ provider, snapshot, middleware: mount(provider) as unknown as Middleware })
}

/** A client is looked up several times a request. Its metadata cannot change during the life of an engine, so it is built and
 *  checked once. */
function rememberClients({ Client }: Provider, snapshot: Snapshot, limits: ClientLimits): void {
  const known = createRecent<Client>(10_000)
  const find = Client.find.bind(Client)
  Client.find = async (id: string) => {
    refuseControlCharacters()
    limits.named(id)
    const found = (snapshot.knownClient(id) && known.get(id)) ?? (await find(id))
    if (found) known.set(id, found)
    limits.found(found)
    return found
  }
}

const checked = new WeakSet<object>()

/** The engine parses the bodies of its own routes, so this runs where every one of them passes: when the client is looked up. */
function refuseControlCharacters(): void {
  const params = Provider.ctx?.oidc?.params
  if (!params || checked.has(params)) return
  checked.add(params)
  const name = findControlCharacter(Object.entries(params))
  if (name !== undefined) throw new errors.InvalidRequest(`${name} contains a control character`)
}
