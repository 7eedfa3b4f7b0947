// sallyport migrate: bring the schema up to date and end. The server does the same when it starts.
import type { Command } from 'commander'
import { migrate } from '#src/db/migrate.ts'
import type { CliDeps } from './deps.ts'

export function register(program: Command, deps: CliDeps): void {
  program
    .command('migrate')
    .description('apply the migrations that the database lacks')
    .action(async () => {
      const database = await deps.openDatabase({ anySchema: true })
      const applied = await migrate(database, { log: deps.log(), progress: deps.progress('migrations applied') })
      deps.out({ applied }, applied.length > 0 ? `Applied ${applied.join(', ')}.` : 'The schema is up to date.')
    })
}
