// What a probe makes here, and takes away again: two people without a password, each with an API key; the client that exchanges the keys for
// tokens; an API that nobody serves, for tokens with another audience; a role, where the API has scopes by role. All of it carries one mark, by
// which it is found and removed: at the end, after an error, and by the next run, should this one be killed. Until then little is
// left to use: keys and secret end after ten minutes.
import { randomBytes } from 'node:crypto'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { createRole, deleteRole } from '#src/access/roles.ts'
import { type ApiRecord, createApi, deleteApi } from '#src/apis/apis.ts'
import type { Change } from '#src/audit/change.ts'
import { createClient, deleteClient } from '#src/clients/clients.ts'
import { newClientSecret } from '#src/clients/secrets.ts'
import { tokenExchange } from '#src/clients/types.ts'
import type { Database } from '#src/db/database.ts'
import { createUser, deleteUser } from '#src/users/users.ts'

/** A name that can belong to nobody else: `.invalid` has no mail (RFC 6761 6.4), and the rest is ours by its beginning. */
const mark = 'sallyport-probe'
const mailDomain = '@probe.sallyport.invalid'
const minutes = 10

export type Person = Readonly<{ id: string; key: string }>

export type Cast = Readonly<{
  a: Person
  b: Person
  client: { id: string; secret: string }
  /** Tokens with another audience are for this one. */
  otherApi: string
  /** What the keys can be exchanged for, at the real API and at the other. */
  scopes: readonly string[]
}>

/** @param scopes what the operations ask for; an API with others lends one more, for tokens that lack what is asked. */
export async function mint(
  database: Database,
  api: ApiRecord,
  scopes: readonly string[],
  change: Change,
): Promise<Cast> {
  const { prisma } = database
  const run = `${change.now.getTime().toString(36)}-${randomBytes(4).toString('hex')}`
  // Without any scope no token can be had: where all of them are by role, one of these.
  const [onlyByRole] = scopes.length === 0 ? api.scopes : []
  const spare = api.scopes.find(({ name, byRole }) => !byRole && !scopes.includes(name)) ?? onlyByRole
  const all = [...scopes, ...(spare === undefined ? [] : [spare.name])]
  const byRole = api.scopes.filter((scope) => scope.byRole && all.includes(scope.name)).map(({ name }) => name)
  const expiresAt = new Date(change.now.getTime() + minutes * 60_000)

  const role = byRole.length > 0 ? `${mark}-${run}` : undefined
  const description = 'Throw-away role of sallyport probe'
  if (role !== undefined)
    await createRole(prisma, role, { description, permissions: byRole, api: api.identifier }, change)
  const otherApi = `urn:${mark}:${run}`
  await createApi(
    prisma,
    {
      identifier: otherApi,
      name: 'Throw-away API of sallyport probe',
      accessTokenFormat: api.accessTokenFormat,
      // Who introspects for the real API sees these tokens as active, and has to look at their audience.
      introspectionClients: api.introspectionClients.map(({ clientId }) => clientId),
      scopes: Object.fromEntries(all.map((name) => [name, 'Nothing: of a throw-away API'])),
    },
    change,
  )
  const apis = { [api.identifier]: all, [otherApi]: all }
  const client = { id: `${mark}-${run}`, secret: newClientSecret() }
  await createClient(
    prisma,
    { id: client.id, name: 'Throw-away client of sallyport probe', type: 'service', grantTypes: [tokenExchange], apis },
    [{ value: client.secret, expiresAt }],
    change,
  )
  const person = async (name: 'a' | 'b'): Promise<Person> => {
    const { id } = await createUser(
      prisma,
      {
        email: `${name}.${run}${mailDomain}`,
        name: `Throw-away person ${name.toUpperCase()} of sallyport probe`,
        roles: role === undefined ? [] : [role],
      },
      change,
    )
    const { value } = await createApiKey(
      prisma,
      { name: 'sallyport probe', apis, owner: { userId: id }, expiresAt },
      change,
    )
    return { id, key: value }
  }
  return { a: await person('a'), b: await person('b'), client, otherApi, scopes: all }
}

/** Whatever carries the mark. Only while nobody else probes: see probe.ts. Deleting a person ends their keys and tokens, and tells verifiers.
 *  @returns how many things were removed. @throws the first error, once everything was tried. */
export async function removeThrowaways({ prisma }: Database, change: Change): Promise<number> {
  const users = await prisma.user.findMany({ where: { emailKey: { endsWith: mailDomain } }, select: { id: true } })
  const clients = await prisma.client.findMany({ where: { id: { startsWith: `${mark}-` } }, select: { id: true } })
  const apis = await prisma.api.findMany({
    where: { identifier: { startsWith: `urn:${mark}:` } },
    select: { identifier: true },
  })
  const roles = await prisma.role.findMany({ where: { name: { startsWith: `${mark}-` } }, select: { name: true } })
  const removals = [
    ...users.map(
      ({ id }) =>
        () =>
          deleteUser(prisma, id, change),
    ),
    ...clients.map(
      ({ id }) =>
        () =>
          deleteClient(prisma, id, change),
    ),
    ...apis.map(
      ({ identifier }) =>
        () =>
          deleteApi(prisma, identifier, change),
    ),
    ...roles.map(
      ({ name }) =>
        () =>
          deleteRole(prisma, name, change),
    ),
  ]
  const failures: unknown[] = []
  for (const remove of removals) await remove().catch((error: unknown) => failures.push(error))
  if (failures.length > 0) throw failures[0]
  return removals.length
}
