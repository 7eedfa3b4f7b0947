// sallyport apis: protected APIs. They are made and changed by the declarative file.
import type { Command } from 'commander'
import { ApiNotFound, describeApi, findApi, listApis } from '#src/apis/apis.ts'
import type { CliDeps } from './deps.ts'
import { details, table } from './table.ts'

export function register(program: Command, deps: CliDeps): void {
  const apis = program.command('apis').description('protected APIs and their scopes')

  apis
    .command('list')
    .description('every API')
    .action(async () => {
      const { prisma } = await deps.openDatabase()
      const records = await listApis(prisma)
      const rows = records.map((record) => [
        record.identifier,
        record.accessTokenFormat,
        `${record.accessTokenTtlSeconds} s`,
        String(record.scopes.length),
        record.name,
      ])
      deps.out(
        records.map(describeApi),
        table(['identifier', 'tokens', 'lifetime', 'scopes', 'name'], rows, 'There is no API.'),
      )
    })

  apis
    .command('show')
    .description('one API')
    .argument('<identifier>', 'its identifier')
    .action(async (identifier: string) => {
      const { prisma } = await deps.openDatabase()
      const record = await findApi(prisma, identifier)
      if (!record) throw new ApiNotFound(identifier)
      const shown = describeApi(record)
      deps.out(shown, details(shown))
    })
}
