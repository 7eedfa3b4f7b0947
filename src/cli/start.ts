// sallyport start: the server.
import type { Command } from 'commander'
import type { CliDeps } from './deps.ts'

export function register(program: Command, deps: CliDeps): void {
  program
    .command('start')
    .description('start the server and keep it running until SIGTERM or Ctrl-C')
    .action(async () => {
      const { run } = await import('#src/main.ts')
      await run(deps.config())
    })
}
