// sallyport clients: registered applications and their secrets.
import type { Command } from 'commander'
import { createClient, deleteClient, findClient, listClients, setClientDisabled } from '#src/clients/clients.ts'
import { ClientNotFound, InvalidClient } from '#src/clients/errors.ts'
import { logoHash, setClientLogo } from '#src/clients/logos.ts'
import { mostBytes, type Picture, readPicture } from '#src/clients/pictures.ts'
import { addClientSecret, newClientSecret, removeClientSecret } from '#src/clients/secrets.ts'
import { type ClientInput, describeClient } from '#src/clients/settings.ts'
import { type ClientType, clientTypes, hasSecret } from '#src/clients/types.ts'
import { readAtMost } from '#src/declaration/beside.ts'
import type { CliDeps } from './deps.ts'
import { cliChange, collect, collectApi, readSecret, wholeNumber } from './input.ts'
import { details, table } from './table.ts'

type CreateOptions = {
  type: string
  name?: string
  profile?: string
  redirectUri?: string[]
  postLogoutRedirectUri?: string[]
  scope?: string[]
  api?: Record<string, string[]>
  defaultScope?: string[]
  defaultApi?: Record<string, string[]>
  optionalScope?: string[]
  optionalApi?: Record<string, string[]>
  refreshTokenTtlSeconds?: number
  refreshTokenIdleTtlSeconds?: number
  secondFactor?: string
  secretStdin: boolean
}

export function register(program: Command, deps: CliDeps): void {
  const clients = program.command('clients').description('applications and their secrets')

  clients
    .command('list')
    .description('every client')
    .action(async () => {
      const { prisma } = await deps.openDatabase()
      const records = await listClients(prisma)
      const rows = records.map((record) => [
        record.id,
        record.type,
        record.profile,
        record.disabledAt ? 'disabled' : 'active',
        record.name,
      ])
      deps.out(
        records.map(describeClient),
        table(['client', 'type', 'profile', 'state', 'name'], rows, 'There is no client.'),
      )
    })

  clients
    .command('show')
    .description('one client')
    .argument('<client>', 'its id')
    .action(async (id: string) => {
      const { prisma } = await deps.openDatabase()
      const record = await findClient(prisma, id)
      if (!record) throw new ClientNotFound(id)
      const shown = describeClient(record)
      deps.out(
        shown,
        details({
          ...shown,
          optionalScopes: shown.optionalScopes ?? 'any but openid',
          secrets: shown.secrets.map(describeSecret),
        }),
      )
    })

  clients
    .command('create')
    .description('register an application; a secret is made and printed once')
    .argument('<client>', 'its id')
    .requiredOption('--type <type>', clientTypes.join(' | '))
    .option('--name <name>', 'what people see')
    .option('--profile <profile>', 'default | high | fapi2')
    .option('--redirect-uri <uri>', 'may be given several times', collect)
    .option('--post-logout-redirect-uri <uri>', 'may be given several times', collect)
    .option('--scope <scope>', 'an OpenID scope; may be given several times', collect)
    .option('--api <identifier=scope,scope>', 'scopes of an API; may be given several times', collectApi)
    .option(
      '--default-scope <scope>',
      'an OpenID scope of requests that name none; may be given several times',
      collect,
    )
    .option('--default-api <identifier=scope,scope>', 'scopes of an API in requests that name none', collectApi)
    .option('--optional-scope <scope>', 'an OpenID scope that people may leave out (otherwise any but openid)', collect)
    .option('--optional-api <identifier=scope,scope>', 'scopes of an API that people may leave out', collectApi)
    .option('--refresh-token-ttl-seconds <seconds>', 'how long a person stays signed in at most', wholeNumber)
    .option('--refresh-token-idle-ttl-seconds <seconds>', 'and how long without using it', wholeNumber)
    .option('--second-factor <policy>', 'optional | required, from everybody who signs in')
    .option('--secret-stdin', 'take the secret from standard input', false)
    .action(async (id: string, options: CreateOptions) => {
      const secret = await secretFor(deps, options)
      const { prisma } = await deps.openDatabase()
      const record = await createClient(
        prisma,
        { id, ...inputOf(options) },
        secret === undefined ? [] : [{ value: secret }],
        cliChange(deps),
      )
      const shown = options.secretStdin || secret === undefined ? {} : { clientSecret: secret }
      deps.out(
        { ...describeClient(record), ...shown },
        [`Created ${id}.`, ...describeNewSecret(shown.clientSecret)].join('\n'),
      )
    })

  clients
    .command('set-logo')
    .description(
      'the picture that people see beside its name: PNG, JPEG or WebP, at most 64 KiB and 1024 x 1024 pixels',
    )
    .argument('<client>', 'its id')
    .argument('[file]', 'the picture')
    .option('--no-logo', 'take it away')
    .action(async (id: string, file: string | undefined, { logo }: { logo: boolean }, command: Command) => {
      if ((file === undefined) === logo) command.error('error: name a file, or give --no-logo', { exitCode: 2 })
      const picture = file === undefined ? null : readLogo(deps, file)
      const { prisma } = await deps.openDatabase()
      await setClientLogo(prisma, id, picture, cliChange(deps))
      deps.out(
        { clientId: id, logo: picture && logoHash(picture.name) },
        picture ? `${id} has a logo now.` : `${id} has no logo any more.`,
      )
    })

  clients
    .command('disable')
    .description('refuse the client and end its tokens')
    .argument('<client>', 'its id')
    .action(async (id: string) => {
      const { prisma } = await deps.openDatabase()
      await setClientDisabled(prisma, id, true, cliChange(deps))
      deps.out({ clientId: id, disabled: true }, `Disabled ${id}; its tokens have ended.`)
    })

  clients
    .command('enable')
    .description('accept a disabled client again')
    .argument('<client>', 'its id')
    .action(async (id: string) => {
      const { prisma } = await deps.openDatabase()
      await setClientDisabled(prisma, id, false, cliChange(deps))
      deps.out({ clientId: id, disabled: false }, `Enabled ${id}.`)
    })

  clients
    .command('delete')
    .description('remove the client with its secrets, consents and API keys')
    .argument('<client>', 'its id')
    .action(async (id: string) => {
      const { prisma } = await deps.openDatabase()
      await deleteClient(prisma, id, cliChange(deps))
      deps.out({ clientId: id, deleted: true }, `Deleted ${id}.`)
    })

  clients
    .command('add-secret')
    .description('add a secret beside those in use; it is made and printed once')
    .argument('<client>', 'its id')
    .option('--expires-in-days <days>', 'when it stops working', wholeNumber)
    .option('--secret-stdin', 'take the secret from standard input', false)
    .action(async (id: string, options: { expiresInDays?: number; secretStdin: boolean }) => {
      const value = options.secretStdin ? await readSecret(deps, 'secret') : newClientSecret()
      const { prisma } = await deps.openDatabase()
      const expiresAt =
        options.expiresInDays === undefined ? null : new Date(deps.now().getTime() + options.expiresInDays * 86_400_000)
      const secretId = await addClientSecret(prisma, id, { value, expiresAt }, cliChange(deps))
      const shown = options.secretStdin ? {} : { clientSecret: value }
      deps.out(
        { clientId: id, secretId, expiresAt, ...shown },
        [`Added the secret ${secretId} to ${id}.`, ...describeNewSecret(shown.clientSecret)].join('\n'),
      )
    })

  clients
    .command('remove-secret')
    .description('remove one secret; the others go on working')
    .argument('<client>', 'its id')
    .argument('<secret>', 'the id of the secret, from `clients show`')
    .action(async (id: string, secretId: string) => {
      const { prisma } = await deps.openDatabase()
      await removeClientSecret(prisma, id, secretId, cliChange(deps))
      deps.out({ clientId: id, secretId, removed: true }, `Removed the secret ${secretId} of ${id}.`)
    })
}

function readLogo(deps: CliDeps, file: string): Picture {
  let bytes: Buffer
  try {
    bytes = readAtMost(file, mostBytes)
  } catch (error) {
    return deps.fail(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}).`)
  }
  const read = readPicture('logo', bytes)
  if ('flaws' in read) throw new InvalidClient(read.flaws)
  return read.picture
}

function inputOf(options: CreateOptions): ClientInput {
  const { name, profile, redirectUri, postLogoutRedirectUri, scope, api } = options
  const { defaultScope, defaultApi, optionalScope, optionalApi } = options
  const { refreshTokenTtlSeconds, refreshTokenIdleTtlSeconds, secondFactor } = options
  return {
    type: options.type as ClientType, // the room refuses what is not one
    ...{
      name,
      profile,
      redirectUris: redirectUri,
      postLogoutRedirectUris: postLogoutRedirectUri,
      scopes: scope,
      apis: api,
      defaultScopes: defaultScope,
      defaultApiScopes: defaultApi,
      optionalScopes: optionalScope,
      optionalApiScopes: optionalApi,
      refreshTokenTtlSeconds,
      refreshTokenIdleTtlSeconds,
      secondFactor,
    },
  }
}

async function secretFor(deps: CliDeps, { type, secretStdin }: CreateOptions): Promise<string | undefined> {
  if (secretStdin) return readSecret(deps, 'secret')
  const known = (clientTypes as readonly string[]).includes(type)
  return known && hasSecret(type as ClientType) ? newClientSecret() : undefined
}

function describeNewSecret(secret: string | undefined): string[] {
  return secret === undefined ? [] : ['', `  ${secret}`, '', 'This is its secret. It is not shown again.']
}

function describeSecret({ id, createdAt, expiresAt }: { id: string; createdAt: Date; expiresAt: Date | null }): string {
  return `${id}  made ${createdAt.toISOString()}${expiresAt ? `, ends ${expiresAt.toISOString()}` : ''}`
}
