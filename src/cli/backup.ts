// sallyport backup: says that there is a backup, so that `sallyport doctor` knows of it. It makes none.
import { type Command, InvalidArgumentError } from 'commander'
import { recordBackup } from '#src/checkup/backups.ts'
import type { CliDeps } from './deps.ts'
import { cliChange } from './input.ts'

export function register(program: Command, deps: CliDeps): void {
  program
    .command('backup')
    .description('what is known of backups')
    .command('done')
    .description('records that one was made: the last line of the script that makes it')
    .option('--at <moment>', 'when it was begun, such as 2026-11-26T03:00:00Z; left out: now', readMoment)
    .action(async ({ at }: { at?: Date }) => {
      const { prisma } = await deps.openDatabase()
      const change = cliChange(deps)
      const newest = await recordBackup(prisma, at ?? change.now, change)
      deps.out({ at: newest }, `The newest backup that is known is of ${newest.toISOString()}.`)
    })
}

function readMoment(value: string): Date {
  const isWhole = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)$/.test(value)
  const at = new Date(value)
  if (!isWhole || Number.isNaN(at.getTime()))
    throw new InvalidArgumentError('Write a moment with its offset, such as 2026-11-26T03:00:00Z.')
  return at
}
