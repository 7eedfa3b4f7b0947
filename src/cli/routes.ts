// sallyport routes: what gateways ask.
import type { Command } from 'commander'
import type { CliDeps } from './deps.ts'
import { registerOpenapi } from './openapi-routes.ts'

export function register(program: Command, deps: CliDeps): void {
  const routes = program.command('routes').description('routes of gateways')
  registerOpenapi(routes, deps)
}
