// sallyport routes openapi: what an OpenAPI document would add to the routes. It needs no database.
import type { Command } from 'commander'
import { readAtMost } from '#src/declaration/beside.ts'
import { writeRoutes } from '#src/declaration/export.ts'
import { InvalidOpenapi, mostDocumentBytes, readOpenapi } from '#src/openapi/document.ts'
import { routesOf } from '#src/openapi/routes.ts'
import type { CliDeps } from './deps.ts'

export function registerOpenapi(routes: Command, deps: CliDeps): void {
  routes
    .command('openapi')
    .description('print the routes that an OpenAPI document (3.0, 3.1) stands for, as the declarative file has them')
    .argument('<file>', 'the document, JSON or YAML')
    .requiredOption('--api <identifier>', 'the API')
    .requiredOption('--host <host>', 'the host that the gateway answers for')
    .option('--base-path <path>', 'what stands in front of every path; else the path of its servers')
    .action((file: string, frame: { api: string; host: string; basePath?: string }) => {
      const read = readOpenapi(readBytes(deps, file), file)
      const made = 'flaws' in read ? read : routesOf(read.document, frame)
      if ('flaws' in made) throw new InvalidOpenapi(made.flaws)
      const routes = made.routes.map(({ from: _, ...route }) => route)
      deps.out({ routes }, writeRoutes(routes).trimEnd())
    })
}

function readBytes(deps: CliDeps, file: string): Buffer {
  try {
    return readAtMost(file, mostDocumentBytes)
  } catch (error) {
    return deps.fail(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown reason'}).`)
  }
}
