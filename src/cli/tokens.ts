// sallyport tokens: where a token comes from and why it is over, and ending what was issued. Every process refuses what was ended as soon
// as the command returns.
import { type Command, InvalidArgumentError } from 'commander'
import type { Database } from '#src/db/database.ts'
import { type Counts, countRevocation, mostLookedAt } from '#src/tokens/dry-run.ts'
import { findFamily, findTokenId } from '#src/tokens/lineage.ts'
import { type RevocationTarget, revoke } from '#src/tokens/revoke.ts'
import { candidateRowIds, rowIdText } from '#src/tokens/row-ids.ts'
import type { CliDeps } from './deps.ts'
import { drawFamily } from './family-tree.ts'
import { cliChange, readSecret } from './input.ts'
import { findPerson } from './users.ts'

type Targets = {
  token?: string
  grant?: string
  session?: string
  consent?: [user: string, client: string]
  user?: string
  client?: string
  api?: string
  before?: Date | 'now'
}
type RevokeOptions = Targets & { dryRun: boolean }

/** What is ended, in both senses: for the room, and for the person who reads the answer. */
type Meant = { target: RevocationTarget; named: Record<string, unknown>; words: string }

const fromInput =
  '- reads it from standard input, where it shows neither in the process list nor in the history of the shell'

export function register(program: Command, deps: CliDeps): void {
  const tokens = program.command('tokens').description('what was issued')

  tokens
    .command('show')
    .description(
      'the family of a token: its session, grant, code, refresh tokens and access tokens, and why each is over',
    )
    .argument('<token>', `value of a token, or id of its row; ${fromInput}`)
    .action(async (given: string) => {
      const token = await readToken(given)
      const family = await findFamily(await deps.openDatabase(), candidateRowIds(token))
      deps.out(family, drawFamily(family))
    })

  const command = tokens
    .command('revoke')
    .description('end tokens, of one token up to all of them')
    .option('--token <token>', `one token, by value or id; a refresh token takes its grant along; ${fromInput}`)
    .option('--grant <id>', 'one grant: what one person let one client do in one session')
    .option('--session <uid>', 'one browser session, with its grants')
    .option('--consent <user,client>', 'what a person agreed to for a client: they are asked again', readPair)
    .option('--user <user>', 'everything of one person, signed in everywhere: email address or id')
    .option('--client <id>', 'everything of one client')
    .option('--api <identifier>', 'everything that was issued for one API')
    .option(
      '--before <time>',
      'everything issued before, and every session begun before: now, or a time like 2026-11-22T12:00:00Z',
      readMoment,
    )
    .option('--dry-run', 'count what would end, and change nothing', false)
    .action(async ({ dryRun, ...targets }: RevokeOptions) => {
      if (Object.keys(targets).length !== 1)
        command.error(
          'error: name one of --token, --grant, --session, --consent, --user, --client, --api and --before',
          { exitCode: 2 },
        )
      const token = targets.token === undefined ? undefined : await readToken(targets.token)
      const database = await deps.openDatabase()
      const { target, named, words } = await settle(database, { ...targets, ...(token === undefined ? {} : { token }) })
      if (dryRun) {
        const counts = await countRevocation(database.prisma, target)
        return deps.out(
          { ...named, dryRun, counts },
          `Dry run, nothing was changed. Would end ${words}:\n${inWords(counts)}`,
        )
      }
      await revoke(database.prisma, target, cliChange(deps))
      deps.out({ ...named, revoked: true }, `Ended ${words}.`)
    })

  async function readToken(given: string): Promise<string> {
    return given === '-' ? readSecret(deps, 'token') : given
  }
}

async function settle(database: Database, targets: Targets): Promise<Meant> {
  const { token, grant, session, consent, user, client, api, before } = targets
  if (token !== undefined) {
    const id = await findTokenId(database, token)
    return { target: { kind: 'token', id }, named: { token: rowIdText(id) }, words: `the token ${rowIdText(id)}` }
  }
  if (grant !== undefined)
    return { target: { kind: 'grant', id: grant }, named: { grant }, words: `the grant ${grant} and its tokens` }
  if (session !== undefined)
    return {
      target: { kind: 'session', uid: session },
      named: { session },
      words: `the session ${session}, its grants and their tokens`,
    }
  if (consent !== undefined) {
    const person = await findPerson(database.prisma, consent[0])
    return {
      target: { kind: 'consent', userId: person.id, clientId: consent[1] },
      named: { consent: { user: person.id, client: consent[1] } },
      words: `what ${person.email} agreed to for ${consent[1]}`,
    }
  }
  if (user !== undefined) {
    const person = await findPerson(database.prisma, user)
    return {
      target: { kind: 'user', id: person.id },
      named: { user: person.id },
      words: `every session, token and API key of ${person.email}`,
    }
  }
  if (client !== undefined)
    return { target: { kind: 'client', id: client }, named: { client }, words: `every token and API key of ${client}` }
  if (api !== undefined)
    return {
      target: { kind: 'api', identifier: api },
      named: { api },
      words: `every token for ${api}, and what API keys may do there`,
    }
  const moment = before ?? 'now'
  const written = moment === 'now' ? moment : moment.toISOString()
  return {
    target: { kind: 'before', moment },
    named: { before: written },
    words: `every token issued, and every session begun, before ${written}`,
  }
}

function inWords({ accessTokens, refreshTokens, codes, grants, sessions, apiKeys, more }: Counts): string {
  const lines = [
    [accessTokens, 'access tokens'],
    [refreshTokens, 'refresh tokens'],
    [codes, 'codes'],
    [grants, 'grants'],
    [sessions, 'sessions'],
    [apiKeys, 'API keys'],
  ].map(([count, what]) => `${String(count).padStart(8)} ${what}`)
  return [...lines, ...(more ? [`There are more: ${mostLookedAt} rows were looked at.`] : [])].join('\n')
}

/** Both halves are free of commas: client ids and addresses as they are accepted here. */
function readPair(value: string): [string, string] {
  const [user = '', client = '', ...rest] = value.split(',')
  if (user === '' || client === '' || rest.length > 0) throw new InvalidArgumentError('Write <user>,<client>.')
  return [user, client]
}

/** With its offset from UTC: a time without one means another hour on every machine. */
function readMoment(value: string): Date | 'now' {
  if (value === 'now') return value
  const moment = new Date(value)
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)$/.test(value) || Number.isNaN(moment.getTime()))
    throw new InvalidArgumentError('Write now, or a time with its offset, like 2026-11-22T12:00:00Z.')
  return moment
}
