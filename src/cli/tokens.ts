// sallyport tokens: end what was issued. Every process refuses the tokens within a second.
import type { Command } from 'commander'
import { endClientTokens } from '#src/clients/clients.ts'
import { endGrant } from '#src/tokens/end-grant.ts'
import { endUserTokens } from '#src/users/users.ts'
import type { CliDeps } from './deps.ts'
import { cliChange } from './input.ts'
import { findPerson } from './users.ts'

type Target = { grant?: string; user?: string; client?: string }

export function register(program: Command, deps: CliDeps): void {
  const tokens = program.command('tokens').description('what was issued')

  const revoke = tokens
    .command('revoke')
    .description('end every token of a grant, a person or a client')
    .option('--grant <id>', 'one grant: what one person let one client do')
    .option('--user <user>', 'everything of one person: email address or id')
    .option('--client <id>', 'everything of one client')
    .action(async (target: Target) => {
      if (Object.keys(target).length !== 1)
        revoke.error('error: name one of --grant, --user and --client', { exitCode: 2 })
      const { prisma } = await deps.openDatabase()
      const change = cliChange(deps)
      if (target.grant !== undefined) {
        await endGrant(prisma, target.grant, change)
        return deps.out({ grant: target.grant, revoked: true }, `Ended the grant ${target.grant} and its tokens.`)
      }
      if (target.user !== undefined) {
        const person = await findPerson(prisma, target.user)
        await endUserTokens(prisma, person.id, change)
        return deps.out({ user: person.id, revoked: true }, `Ended every session and token of ${person.email}.`)
      }
      const client = target.client ?? ''
      await endClientTokens(prisma, client, change)
      deps.out({ client, revoked: true }, `Ended every token of ${client}.`)
    })
}
