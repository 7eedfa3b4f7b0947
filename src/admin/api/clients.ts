// /api/v1/clients: registered applications and their secrets.
import { z } from 'zod'
import { type Bounds, refuseBeyondClient } from '#src/admin/bounds.ts'
import { createClient, findClient } from '#src/clients/clients.ts'
import { patchClient, removeClient, searchClients } from '#src/clients/editing.ts'
import { ClientNotFound } from '#src/clients/errors.ts'
import { addClientSecret, newClientSecret, removeClientSecret, rotateClientSecret } from '#src/clients/secrets.ts'
import { type ClientRecord, clientSettings, describeClient } from '#src/clients/settings.ts'
import { clientProfiles, clientTypes, hasSecret, idTokenAlgorithms, secondFactorPolicies } from '#src/clients/types.ts'
import type { Db } from '#src/db/database.ts'
import { cutPage, listOf, pageOf } from './page.ts'
import {
  type AdminApiDeps,
  type AdminRoute,
  cascade,
  deleted,
  instant,
  moment,
  resettable,
  route,
  yesOrNo,
} from './route.ts'

export function clientRoutes({ doors }: AdminApiDeps): AdminRoute[] {
  return [
    route('get /clients', {
      scope: 'clients:read',
      name: 'listClients',
      summary: 'List applications',
      query: pageOf({
        q: z.string().min(1).max(128).optional().meta({ description: 'Part of an id or a name.' }),
        type: z.enum(clientTypes).optional(),
        api: z.string().optional().meta({ description: 'The identifier of an API that they may call.' }),
        disabled: yesOrNo.optional(),
      }),
      answer: listOf(client),
      async handle({ db, query: { after, limit, ...filter } }) {
        const records = await searchClients(db, filter, { after, limit: limit + 1 })
        return cutPage(records, limit, describeClient, (record) => record.id)
      },
    }),

    route('post /clients', {
      scope: 'clients:write',
      name: 'createClient',
      summary: 'Register an application',
      body: creation,
      answer: createdClient,
      status: 201,
      secret: true,
      once: true,
      async handle({ db, body: { clientId, clientSecret, ...input }, caller, change }) {
        await refuseBeyondClient({ doors, caller }, db, input)
        const value = hasSecret(input.type) ? (clientSecret ?? newClientSecret()) : clientSecret
        const record = await createClient(
          db,
          { id: clientId, ...input },
          value === undefined ? [] : [{ value }],
          change,
        )
        return {
          ...describeClient(record),
          ...(value !== undefined && clientSecret === undefined ? { clientSecret: value } : {}),
        }
      },
    }),

    route('get /clients/:id', {
      scope: 'clients:read',
      name: 'readClient',
      summary: 'Read an application',
      answer: client,
      versioned: true,
      handle: async ({ db, id }) => describeClient(await find(db, id)),
    }),

    route('patch /clients/:id', {
      scope: 'clients:write',
      name: 'changeClient',
      summary: 'Change an application',
      body: patch,
      answer: client,
      versioned: true,
      async handle({ db, id, body, caller, change, seen }) {
        await refuseBoth({ doors, caller }, db, await find(db, id))
        await refuseBeyondClient({ doors, caller }, db, { apis: body.apis ?? {}, roles: body.roles ?? [] })
        return describeClient(await patchClient(db, id, body, change, seen))
      },
    }),

    route('delete /clients/:id', {
      scope: 'clients:write',
      name: 'deleteClient',
      summary: 'Delete an application',
      query: cascade,
      answer: deleted,
      async handle({ db, id, query, caller, change }) {
        await refuseBoth({ doors, caller }, db, await find(db, id))
        await removeClient(db, id, query, change)
        return { id, deleted: true }
      },
    }),

    route('post /clients/:id/secrets', {
      scope: 'clients:write',
      name: 'addClientSecret',
      summary: 'Add a secret, or replace those there are',
      body: z.strictObject({
        expiresAt: moment.nullable().optional(),
        overlapSeconds: z.number().int().min(0).max(7_776_000).optional().meta({
          description: 'How long the secrets there are stay good. Left out: as long as they were going to.',
        }),
      }),
      answer: z.strictObject({ id: text, clientSecret: text }),
      status: 201,
      secret: true,
      once: true,
      async handle({ db, id, body: { expiresAt, overlapSeconds }, caller, change }) {
        await refuseBoth({ doors, caller }, db, await find(db, id))
        const value = newClientSecret()
        const secret = { value, expiresAt: expiresAt == null ? null : new Date(expiresAt) }
        const secretId =
          overlapSeconds === undefined
            ? await addClientSecret(db, id, secret, change)
            : await rotateClientSecret(db, id, secret, { overlapSeconds }, change)
        return { id: secretId, clientSecret: value }
      },
    }),

    route('delete /clients/:id/secrets/:secretId', {
      scope: 'clients:write',
      name: 'removeClientSecret',
      summary: 'Remove a secret',
      answer: deleted,
      async handle({ db, ctx, id, caller, change }) {
        await refuseBoth({ doors, caller }, db, await find(db, id))
        await removeClientSecret(db, id, ctx.params.secretId, change)
        return { id: ctx.params.secretId, deleted: true }
      },
    }),
  ]

  async function find(db: Db, id: string): Promise<ClientRecord> {
    const record = await findClient(db, id)
    if (!record) throw new ClientNotFound(id)
    return record
  }

  /** Whoever changes a client that may do more than they may could be that client. */
  function refuseBoth(bounds: Bounds, db: Db, record: ClientRecord): Promise<void> {
    return refuseBeyondClient(bounds, db, clientSettings(record))
  }
}

const text = z.string()
const list = z.array(text)
const settings = {
  name: text.optional(),
  profile: z.enum(clientProfiles).optional(),
  grantTypes: list.optional(),
  redirectUris: list.optional(),
  postLogoutRedirectUris: list.optional(),
  scopes: list.optional().meta({ description: 'OpenID scopes.' }),
  roles: list.optional().meta({ description: 'What it holds when it acts for itself; of type service only.' }),
  apis: z.record(text, list).optional().meta({ description: 'Scopes, by the identifier of their API.' }),
  defaultScopes: list.optional().meta({ description: 'Of a request that names no scope.' }),
  defaultApiScopes: z.record(text, list).optional(),
  optionalScopes: list.optional().meta({ description: 'What a person may leave out; left out here: all but openid.' }),
  optionalApiScopes: z.record(text, list).optional(),
  idTokenSignedResponseAlg: z.enum(idTokenAlgorithms).optional(),
  refreshLeewaySeconds: z.number().optional(),
  refreshTokenTtlSeconds: z.number().optional(),
  refreshTokenIdleTtlSeconds: z.number().optional(),
  secondFactor: z.enum(secondFactorPolicies).optional(),
  clientUri: text.optional(),
  logoUri: text.optional(),
  policyUri: text.optional(),
  tosUri: text.optional(),
}
const creation = z.strictObject({
  clientId: text,
  type: z.enum(clientTypes),
  ...settings,
  clientSecret: text.optional().meta({ description: 'Left out: one is made, and shown in this answer only.' }),
})
const patch = z.strictObject({ ...resettable(settings), disabled: z.boolean().optional() })
const client = z
  .strictObject({
    clientId: text,
    type: text,
    name: text,
    profile: text,
    grantTypes: list,
    redirectUris: list,
    postLogoutRedirectUris: list,
    scopes: list,
    roles: list,
    apis: z.record(text, list),
    defaultScopes: list,
    defaultApiScopes: z.record(text, list),
    optionalScopes: list.nullable().meta({ description: 'null: all but openid.' }),
    optionalApiScopes: z.record(text, list),
    idTokenSignedResponseAlg: text,
    refreshLeewaySeconds: z.number(),
    refreshTokenTtlSeconds: z.number(),
    refreshTokenIdleTtlSeconds: z.number().nullable(),
    secondFactor: text,
    clientUri: text.nullable(),
    logoUri: text.nullable(),
    policyUri: text.nullable(),
    tosUri: text.nullable(),
    logo: text.nullable().meta({ description: 'The hash of its picture.' }),
    disabled: z.boolean(),
    secrets: z.array(z.strictObject({ id: text, createdAt: instant, expiresAt: instant.nullable() })),
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'Client' })
const createdClient = client.extend({ clientSecret: text.optional() }).meta({ id: 'CreatedClient' })
