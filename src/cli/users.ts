// sallyport users: people. A person is named by email address or id.
import type { Command } from 'commander'
import type { Db } from '#src/db/database.ts'
import { accountKeys, liftGuessLimits, listGuessLimits } from '#src/factors/guessing.ts'
import { hashPassword } from '#src/factors/password.ts'
import { checkPassword } from '#src/factors/password-rules.ts'
import { settlePasswords } from '#src/factors/password-settings.ts'
import { resetFactors } from '#src/factors/second-factors.ts'
import { InvalidInvitation, invitationDays, invite } from '#src/registration/invitations.ts'
import {
  createUser,
  deleteUser,
  describeUser,
  findUser,
  findUserByEmail,
  InvalidUser,
  listUsers,
  setPassword,
  setUserDisabled,
  UserNotFound,
  type UserRecord,
} from '#src/users/users.ts'
import { toLocale } from '#src/words.ts'
import type { CliDeps } from './deps.ts'
import { cliChange, collect, readSecret, wholeNumber } from './input.ts'
import { details, table } from './table.ts'

type InviteOptions = { role?: string[]; days: number; language?: string }
type CreateOptions = { name?: string; role?: string[]; emailVerified: boolean; passwordStdin: boolean }

export function register(program: Command, deps: CliDeps): void {
  const users = program.command('users').description('people')

  users
    .command('list')
    .description('everybody')
    .action(async () => {
      const { prisma } = await deps.openDatabase()
      const records = await listUsers(prisma)
      records.sort((a, b) => (a.emailKey < b.emailKey ? -1 : 1))
      const rows = records.map((record) => [
        record.email,
        record.id,
        record.disabledAt ? 'disabled' : 'active',
        record.roles.map((role) => role.roleName).join(', ') || '-',
      ])
      deps.out(records.map(describeUser), table(['email', 'id', 'state', 'roles'], rows, 'There is nobody.'))
    })

  users
    .command('show')
    .description('one person')
    .argument('<user>', 'email address or id')
    .action(async (name: string) => {
      const { prisma } = await deps.openDatabase()
      const shown = describeUser(await findPerson(prisma, name))
      deps.out(shown, details(shown))
    })

  users
    .command('create')
    .description('add a person; without a password they cannot sign in by one')
    .argument('<email>', 'email address')
    .option('--name <name>', 'full name')
    .option('--role <role>', 'may be given several times', collect)
    .option('--email-verified', 'the address is known to be theirs', false)
    .option('--password-stdin', 'take a password from standard input', false)
    .action(async (email: string, { name, role, emailVerified, passwordStdin }: CreateOptions) => {
      const passwordHash = passwordStdin ? await readPassword(deps, [email, name ?? '']) : undefined
      const { prisma } = await deps.openDatabase()
      const record = await createUser(
        prisma,
        { email, name, roles: role, emailVerified, passwordHash },
        cliChange(deps),
      )
      deps.out(describeUser(record), `Created ${record.email} (${record.id}).`)
    })

  users
    .command('invite')
    .description('mail an invitation to create an account; it works once, for this address only')
    .argument('<email>', 'email address')
    .option('--role <role>', 'may be given several times', collect)
    .option('--days <days>', `how long it works, at most ${invitationDays.most}`, wholeNumber, invitationDays.usual)
    .option('--language <tag>', 'of the mail: en, de, fr')
    .action(async (email: string, { role, days, language }: InviteOptions) => {
      const locale = language === undefined ? undefined : toLocale(language)
      if (language !== undefined && locale === undefined)
        throw new InvalidInvitation('--language', 'is not a language here', 'Write en, de or fr.')
      const { signUp, mail } = await deps.configInForce()
      const { prisma } = await deps.openDatabase()
      const made = await invite(prisma, { email, roles: role, days, locale }, cliChange(deps), {
        secretKeys: deps.secretKeys(),
        signUp,
      })
      const until = made.expiresAt.toISOString().slice(0, 16).replace('T', ' ')
      const fate = { smtp: 'The running server mails it.', page: 'It is shown at /dev/mail.' }
      deps.out(
        made,
        `Invited ${made.email} until ${until} UTC. ${mail === 'none' ? 'It waits for SMTP_URL to be set, for a day.' : fate[mail]}`,
      )
    })

  users
    .command('disable')
    .description('refuse the person and end their sessions and tokens')
    .argument('<user>', 'email address or id')
    .action(async (name: string) => {
      const { prisma } = await deps.openDatabase()
      const person = await findPerson(prisma, name)
      await setUserDisabled(prisma, person.id, true, cliChange(deps))
      deps.out({ id: person.id, disabled: true }, `Disabled ${person.email}; their sessions and tokens have ended.`)
    })

  users
    .command('enable')
    .description('accept a disabled person again')
    .argument('<user>', 'email address or id')
    .action(async (name: string) => {
      const { prisma } = await deps.openDatabase()
      const person = await findPerson(prisma, name)
      await setUserDisabled(prisma, person.id, false, cliChange(deps))
      deps.out({ id: person.id, disabled: false }, `Enabled ${person.email}.`)
    })

  users
    .command('limits')
    .description('failed guesses that count against the person; needs the SECRET_KEY of the server')
    .argument('<user>', 'email address or id')
    .action(async (name: string) => {
      const { prisma } = await deps.openDatabase()
      const person = await findPerson(prisma, name)
      const limits = await listGuessLimits(prisma, accountKeys(deps.secretKeys(), person.emailKey), deps.now())
      const rows = limits.map(({ factor, knownDevice, failures, lastAt, closedUntil }) => [
        factor,
        knownDevice ? 'a known device' : 'strangers',
        String(failures),
        lastAt.toISOString(),
        closedUntil?.toISOString() ?? '-',
      ])
      const headings = ['factor', 'tried by', 'failures', 'last', 'closed until']
      deps.out(limits, table(headings, rows, 'Nothing counts against this person.'))
    })

  users
    .command('unlock')
    .description('forget failed guesses, so that the person may try again at once; needs the SECRET_KEY of the server')
    .argument('<user>', 'email address or id')
    .action(async (name: string) => {
      const { prisma } = await deps.openDatabase()
      const person = await findPerson(prisma, name)
      const accounts = accountKeys(deps.secretKeys(), person.emailKey)
      const lifted = await liftGuessLimits(prisma, { id: person.id, accounts }, cliChange(deps))
      deps.out(
        { id: person.id, lifted },
        lifted === 0 ? `Nothing counted against ${person.email}.` : `${person.email} may try again at once.`,
      )
    })

  users
    .command('set-password')
    .description('set a password from standard input and end sessions and tokens')
    .argument('<user>', 'email address or id')
    .action(async (name: string) => {
      const { prisma } = await deps.openDatabase()
      const person = await findPerson(prisma, name)
      const passwordHash = await readPassword(deps, [person.email, person.name ?? ''])
      await setPassword(prisma, person.id, passwordHash, cliChange(deps))
      deps.out(
        { id: person.id, passwordSet: true },
        `Set the password of ${person.email}; their sessions and tokens have ended.`,
      )
    })

  users
    .command('reset-factors')
    .description('take away every passkey, app and recovery code of somebody who lost theirs; the password stays')
    .argument('<user>', 'email address or id')
    .action(async (name: string) => {
      const { prisma } = await deps.openDatabase()
      const person = await findPerson(prisma, name)
      const removed = await resetFactors(prisma, person.id, cliChange(deps))
      deps.out(
        { id: person.id, removed },
        `Removed ${removed} second factors and recovery codes of ${person.email}; their sessions and tokens have ended.`,
      )
    })

  users
    .command('delete')
    .description('remove the person with their credentials, consents and API keys')
    .argument('<user>', 'email address or id')
    .action(async (name: string) => {
      const { prisma } = await deps.openDatabase()
      const person = await findPerson(prisma, name)
      await deleteUser(prisma, person.id, cliChange(deps))
      deps.out({ id: person.id, deleted: true }, `Deleted ${person.email}.`)
    })
}

/** @param name email address or id. @throws UserNotFound */
export async function findPerson(db: Db, name: string): Promise<UserRecord> {
  const record = name.includes('@') ? await findUserByEmail(db, name) : await findUser(db, name)
  if (!record) throw new UserNotFound(name)
  return record
}

async function readPassword(deps: CliDeps, personal: string[]): Promise<string> {
  settlePasswords(deps.config())
  const password = await readSecret(deps, 'password')
  const flaws = checkPassword(password, personal)
  if (flaws.length > 0) throw new InvalidUser(flaws)
  return hashPassword(password)
}
