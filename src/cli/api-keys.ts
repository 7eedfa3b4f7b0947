// sallyport api-keys: what programs send in place of a password. (`sallyport keys` is about the keys that sign tokens.)
import type { Command } from 'commander'
import {
  ApiKeyNotFound,
  type ApiKeyOwner,
  createApiKey,
  revokeApiKey,
  rotateApiKey,
} from '#src/access/api-keys/api-keys.ts'
import { type ApiKeyFilter, type ListedApiKey, listApiKeys, readApiKey } from '#src/access/api-keys/reads.ts'
import type { Database } from '#src/db/database.ts'
import type { CliDeps } from './deps.ts'
import { cliChange, collectApi, wholeNumber } from './input.ts'
import { table } from './table.ts'
import { findPerson } from './users.ts'

type Owner = { user?: string; client?: string }
type Ending = { days?: number; never?: boolean }

const day = 86_400_000

export function register(program: Command, deps: CliDeps): void {
  const keys = program.command('api-keys').description('API keys of people and clients')

  keys
    .command('list')
    .description('every API key, or those that need somebody’s attention')
    .option('--user <user>', 'of one person: email address or id')
    .option('--client <id>', 'of one client')
    .option('--idle-days <days>', 'in use, but not once in so many days', wholeNumber)
    .option('--never-rotated', 'in use, and still with its first value', false)
    .action(async (options: Owner & { idleDays?: number; neverRotated: boolean }, command: Command) => {
      if (options.user !== undefined && options.client !== undefined)
        wrong(command, 'name --user or --client, not both')
      const { prisma } = await deps.openDatabase()
      const now = deps.now()
      const filter: ApiKeyFilter = {
        owner: await ownerOf(prisma, options),
        idleSince: options.idleDays === undefined ? undefined : new Date(now.getTime() - options.idleDays * day),
        neverRotated: options.neverRotated,
      }
      const records = await listApiKeys(prisma, filter, now)
      deps.out(
        records,
        table(['key', 'name', 'owner', 'state', 'ends', 'last used'], records.map(rowOf), 'There is no such API key.'),
      )
    })

  keys
    .command('create')
    .description('a key, whose value is printed once')
    .argument('<name>', 'to recognise it by')
    .requiredOption('--api <identifier=scope,scope>', 'what it is for; may be given several times', collectApi)
    .option('--user <user>', 'whose it is: a person, by email address or id')
    .option('--client <id>', 'or a client')
    .option('--days <days>', 'how long it lives', wholeNumber)
    .option('--never', 'it lives until it is revoked; for clients only', false)
    .option('--requests-per-minute <number>', 'in each process; more get 429', wholeNumber)
    .action(
      async (
        name: string,
        options: Owner & Ending & { api: Record<string, string[]>; requestsPerMinute?: number },
        command: Command,
      ) => {
        const expiresAt = endOf(deps, options, command)
        if ((options.user === undefined) === (options.client === undefined))
          wrong(command, 'name one of --user and --client')
        const { prisma } = await deps.openDatabase()
        const owner = await ownerOf(prisma, options)
        if (!owner) throw new Error('nobody was named')
        const { api: apis, requestsPerMinute } = options
        const made = await createApiKey(
          prisma,
          { name, apis, owner, expiresAt, requestsPerMinute },
          cliChange(deps),
          (await deps.configInForce()).apiKeys,
        )
        const shown = await readApiKey(prisma, made.id, deps.now())
        deps.out({ ...shown, value: made.value }, sayValue(made.id, made.value))
      },
    )

  keys
    .command('rotate')
    .description('a new value, printed once; the one before stays good for a while')
    .argument('<key>', 'its id')
    .option('--overlap-hours <hours>', 'how long; 0 ends it at once', wholeNumber)
    .option(
      '--days <days>',
      'how long the new value lives; otherwise as long as the one before was meant to',
      wholeNumber,
    )
    .option('--never', 'it lives until it is revoked; for clients only', false)
    .action(async (id: string, options: Ending & { overlapHours?: number }, command: Command) => {
      const expiresAt = endOf(deps, options, command)
      const { prisma } = await deps.openDatabase()
      const { value } = await rotateApiKey(
        prisma,
        id,
        { expiresAt, overlapHours: options.overlapHours },
        cliChange(deps),
        (await deps.configInForce()).apiKeys,
      )
      const shown = await readApiKey(prisma, id, deps.now())
      const before = shown?.values[1]?.expiresAt
      const until = before ? [`The value before is good until ${before.toISOString()}.`] : []
      deps.out({ ...shown, value }, [sayValue(id, value), ...until].join('\n'))
    })

  keys
    .command('revoke')
    .description('refused everywhere as soon as the command returns')
    .argument('<key>', 'its id')
    .action(async (id: string) => {
      const { prisma } = await deps.openDatabase()
      if (!(await readApiKey(prisma, id, deps.now()))) throw new ApiKeyNotFound()
      await revokeApiKey(prisma, id, cliChange(deps))
      deps.out({ id, revoked: true }, `Revoked the API key ${id}.`)
    })
}

async function ownerOf(prisma: Database['prisma'], { user, client }: Owner): Promise<ApiKeyOwner | undefined> {
  if (user !== undefined) return { userId: (await findPerson(prisma, user)).id }
  return client === undefined ? undefined : { clientId: client }
}

function endOf(deps: CliDeps, { days, never }: Ending, command: Command): Date | null | undefined {
  if (never && days !== undefined) wrong(command, 'name --days or --never, not both')
  if (never) return null
  return days === undefined ? undefined : new Date(deps.now().getTime() + days * day)
}

const wrong = (command: Command, what: string) => command.error(`error: ${what}`, { exitCode: 2 })

function rowOf({ id, name, owner, state, expiresAt, lastUsedAt }: ListedApiKey): string[] {
  return [
    id,
    name,
    'userId' in owner ? owner.userId : owner.clientId,
    state,
    expiresAt?.toISOString() ?? 'never',
    lastUsedAt?.toISOString() ?? '-',
  ]
}

const sayValue = (id: string, value: string) =>
  [`API key ${id}:`, '', `  ${value}`, '', 'It is not shown again.'].join('\n')
