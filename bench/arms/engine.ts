// The baseline: the bare engine with what the scenarios need and nothing of ours. `node engine.ts PORT memory|postgres`
// Its log-in asks nobody anything: whoever comes to the interaction is the person named in `login_hint`.
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import Provider, { type ClientMetadata, type Configuration, errors } from 'oidc-provider'
import { callback, orders, secret, shops, stock } from '../installation.ts'
import { createPostgresAdapter } from './postgres-adapter.ts'

const [, , port = '', storage = 'memory'] = process.argv
const privateJwk = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' })

const service = (clientId: string, scope?: string): ClientMetadata => ({
  client_id: clientId,
  client_secret: secret,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  ...(scope ? { scope } : {}),
})

const apis: Record<string, { scope: string; accessTokenFormat: 'jwt' | 'opaque' }> = {
  [orders]: { scope: 'orders:read', accessTokenFormat: 'jwt' },
  [stock]: { scope: 'stock:read', accessTokenFormat: 'opaque' },
}

const configuration: Configuration = {
  ...(storage === 'postgres' ? { adapter: await createPostgresAdapter(process.env.DATABASE_URL ?? '') } : {}),
  clients: [
    service('reports', 'orders:read stock:read'),
    service('orders-api'),
    service('stock-api'),
    ...shops.map((clientId) => ({
      client_id: clientId,
      client_secret: secret,
      grant_types: ['authorization_code', 'refresh_token'],
      redirect_uris: [callback],
      scope: 'openid profile email',
    })),
  ],
  jwks: { keys: [{ ...privateJwk, kid: 'bench', alg: 'ES256', use: 'sig' }] } as NonNullable<Configuration['jwks']>,
  responseTypes: ['code'],
  pkce: { required: () => true },
  clientDefaults: {
    grant_types: ['authorization_code'],
    response_types: ['code'],
    token_endpoint_auth_method: 'client_secret_basic',
    id_token_signed_response_alg: 'ES256',
  },
  scopes: ['openid', 'profile', 'email', 'orders:read', 'stock:read'],
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'] },
  rotateRefreshToken: true,
  issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
  expiresWithSession: async () => true,
  ttl: {
    AccessToken: 900,
    ClientCredentials: 900,
    AuthorizationCode: 60,
    IdToken: 3600,
    Interaction: 1800,
    RefreshToken: 1_209_600,
    Grant: 1_296_000,
    Session: 86_400,
  },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: async () => true },
    revocation: { enabled: true, allowedPolicy: async (_ctx, client, token) => token.clientId === client.clientId },
    resourceIndicators: {
      enabled: true,
      defaultResource: async () => undefined as unknown as string,
      useGrantedResource: async () => false,
      async getResourceServerInfo(_ctx, resource) {
        const api = apis[resource]
        if (!api) throw new errors.InvalidTarget()
        return { ...api, audience: resource, accessTokenTTL: 900, jwt: { sign: { alg: 'ES256' } } }
      },
    },
  },
  findAccount: async (_ctx, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, name: 'A Person', email: id, email_verified: true }),
  }),
  async loadExistingGrant(ctx) {
    const { client, session, account } = ctx.oidc
    if (!client || !session || !account) return undefined
    const id = session.grantIdFor(client.clientId)
    const existing = id ? await provider.Grant.find(id) : undefined
    if (existing) return existing
    const grant = new provider.Grant({ accountId: account.accountId, clientId: client.clientId })
    grant.addOIDCScope('openid profile email')
    await grant.save()
    return grant
  },
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  cookies: { keys: [randomBytes(32).toString('base64url')] },
  routes: {
    authorization: '/oauth/authorize',
    token: '/oauth/token',
    revocation: '/oauth/revoke',
    introspection: '/oauth/introspect',
    userinfo: '/oauth/userinfo',
    jwks: '/oauth/jwks',
  },
}

const provider = new Provider(`http://localhost:${port}`, configuration)
provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next()
  const { params } = await provider.interactionDetails(ctx.req, ctx.res)
  await provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: String(params.login_hint) } })
  ctx.respond = false
})
const server = createServer(provider.callback())
server.listen(Number(port), '127.0.0.1')
await once(server, 'listening')
process.on('SIGTERM', () => process.exit(0))
