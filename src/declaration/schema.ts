// The shape of the declarative file: names and types, nothing else. What a value may be is asked of the room it belongs to
// (check.ts). Unknown names are refused: a misspelt `redirectUri` must not be ignored.
import { z } from 'zod'
import { brandingSection, settingsSection } from './kinds/settings.ts'

const text = z.string()
const list = z.array(text)

const api = z.strictObject({
  identifier: text,
  name: text,
  accessTokenFormat: text.optional(),
  accessTokenTtlSeconds: z.number().optional(),
  accept: list.optional(),
  introspectionClients: list.optional(),
  hideExistence: z.boolean().optional(),
  tokenClaims: list.optional(),
  scopes: z
    .record(text, z.union([text, z.strictObject({ description: text, byRole: z.boolean().optional() })]))
    .optional(),
  objects: z.record(text, z.record(text, list)).optional(),
  /** What its policies may speak of; left out: as it is. */
  policySchema: z
    .strictObject({
      attributes: text.optional(),
      context: text.optional(),
      objects: z
        .record(text, z.strictObject({ relations: z.record(text, text).optional(), properties: text.optional() }))
        .optional(),
    })
    .optional(),
})

const role = z.strictObject({
  name: text,
  description: text.optional(),
  permissions: list.optional(),
  secondFactor: text.optional(),
  api: text.optional(),
})

/** `sha256:` and 43 characters of base64url; with an end, when it has one. */
const secretHash = z.union([text, z.strictObject({ hash: text, expiresAt: text })])

const client = z.strictObject({
  clientId: text,
  type: text,
  name: text.optional(),
  disabled: z.boolean().optional(),
  clientSecret: text.optional(),
  clientSecretFile: text.optional(),
  clientSecretHash: z.union([text, z.array(secretHash)]).optional(),
  profile: text.optional(),
  grantTypes: list.optional(),
  redirectUris: list.optional(),
  postLogoutRedirectUris: list.optional(),
  scopes: list.optional(),
  roles: list.optional(),
  apis: z.record(text, list).optional(),
  defaultScopes: list.optional(),
  defaultApiScopes: z.record(text, list).optional(),
  optionalScopes: list.optional(),
  optionalApiScopes: z.record(text, list).optional(),
  idTokenSignedResponseAlg: text.optional(),
  refreshLeewaySeconds: z.number().optional(),
  refreshTokenTtlSeconds: z.number().optional(),
  refreshTokenIdleTtlSeconds: z.number().optional(),
  secondFactor: text.optional(),
  clientUri: text.optional(),
  logoUri: text.optional(),
  policyUri: text.optional(),
  tosUri: text.optional(),
  /** A picture beside the file, or the hash of one that is there. */
  logo: text.optional(),
})

const user = z.strictObject({
  email: text,
  disabled: z.boolean().optional(),
  password: text.optional(),
  passwordFile: text.optional(),
  passwordHash: text.optional(),
  emailVerified: z.boolean().optional(),
  name: text.nullable().optional(),
  givenName: text.nullable().optional(),
  familyName: text.nullable().optional(),
  picture: text.nullable().optional(),
  locale: text.nullable().optional(),
  zoneinfo: text.nullable().optional(),
  attributes: z.record(text, z.json()).optional(),
  roles: list.optional(),
})

const route = z.strictObject({
  host: text,
  method: text,
  path: text,
  api: text,
  scopes: list.optional(),
  roles: list.optional(),
  relation: text.optional(),
  acrValues: list.optional(),
  maxAge: z.number().optional(),
  anonymous: z.boolean().optional(),
})

const policy = z.strictObject({
  api: text,
  name: text,
  description: text.optional(),
  /** Left out: as it is, and draft where it is new. */
  state: text.optional(),
  text: text.optional(),
  /** The text, beside the declarative file. */
  file: text.optional(),
})

const webhook = z.strictObject({
  name: text,
  url: text,
  types: list,
  description: text.optional(),
  disabled: z.boolean().optional(),
  /** whsec_…, at creation only. Left out: a new one, which nobody is shown. */
  secret: text.optional(),
  secretFile: text.optional(),
})

/** Every operation of an OpenAPI document beside the file (openapi/routes.ts). */
const documentRoutes = z.strictObject({
  openapi: text,
  api: text,
  host: text,
  basePath: text.optional(),
})

type RawIssue = Exclude<Parameters<z.RefinementCtx['addIssue']>[0], string>

/** What an entry lacks is told in the words of what it is meant to be. */
const routes = z.array(
  z.unknown().transform((value, context): z.infer<typeof route> | z.infer<typeof documentRoutes> => {
    const isDocument = typeof value === 'object' && value !== null && 'openapi' in value
    const read = (isDocument ? documentRoutes : route).safeParse(value)
    if (read.success) return read.data
    for (const issue of read.error.issues) context.addIssue({ ...issue, input: value } as RawIssue)
    return z.NEVER
  }),
)

/** A section that is left out is not looked at, not even by `--prune`; an empty list says "none". */
export const declarationSchema = z.strictObject({
  apis: z.array(api).optional(),
  roles: z.array(role).optional(),
  clients: z.array(client).optional(),
  users: z.array(user).optional(),
  routes: routes.optional(),
  policies: z.array(policy).optional(),
  webhooks: z.array(webhook).optional(),
  settings: settingsSection.optional(),
  branding: brandingSection.optional(),
})

/** As it stands in the file. */
export type WrittenDeclaration = z.infer<typeof declarationSchema>
/** The same once the documents were read that it names: routes and nothing else. */
export type Declaration = Omit<WrittenDeclaration, 'routes'> & { routes?: DeclaredRoute[] | undefined }
/** @param from where it comes from, for messages. None: an entry of its own. */
export type DeclaredRoute = z.infer<typeof route> & { from?: string }
export type DocumentRoutes = z.infer<typeof documentRoutes>
export type DeclaredClient = z.infer<typeof client>
export type DeclaredPolicy = z.infer<typeof policy>
export type DeclaredUser = z.infer<typeof user>
export type DeclaredWebhook = z.infer<typeof webhook>
