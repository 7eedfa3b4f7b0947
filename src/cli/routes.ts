// sallyport routes: what gateways ask before they let a request through (docs/access.md). Routes are tried in order, so the order is a thing of
// its own. What changes one says what it was and what it is, and refuses when somebody else changed it between the two.
import { text } from 'node:stream/consumers'
import { type Command, InvalidArgumentError, Option } from 'commander'
import {
  createRoute,
  describeRoute,
  findRoute,
  pageRoutes,
  patchRoute,
  removeRoute,
  type WrittenRoute,
} from '#src/apis/route-editing.ts'
import { describeOrder, moveRoute, orderRoutes } from '#src/apis/route-order.ts'
import { readQuestion } from '#src/apis/route-question.ts'
import { listRoutes, type RouteRecord, routeMethods, routeName } from '#src/apis/routes.ts'
import { ChangedMeanwhile, fingerprint, type Patch } from '#src/editing.ts'
import type { CliDeps } from './deps.ts'
import { cliChange, collect, wholeNumber } from './input.ts'
import { registerOpenapi } from './openapi-routes.ts'
import { details, table } from './table.ts'

type Route = ReturnType<typeof describeRoute>
type Key = { host: string; method: string; path: string; api: string }
type Asked = {
  scope?: string[]
  role?: string[]
  relation?: string
  acrValue?: string[]
  maxAge?: number
  anonymous?: true
}
type Resettable = 'scopes' | 'roles' | 'relation' | 'acrValues' | 'maxAge' | 'anonymous'

const resettable: readonly Resettable[] = ['scopes', 'roles', 'relation', 'acrValues', 'maxAge', 'anonymous']
const mostListed = 1000

export function register(program: Command, deps: CliDeps): void {
  const routes = program.command('routes').description('routes of gateways, in the order in which they are tried')

  routes
    .command('list')
    .description('routes, in the order in which they are tried')
    .option('--host <host>', 'of this host alone')
    .option('--api <identifier>', 'of this API alone')
    .option('--limit <number>', `how many, at most ${mostListed}`, wholeNumber, 100)
    .option('--after <next>', 'go on where a list ended')
    .action(async ({ limit, after, ...filter }: { host?: string; api?: string; limit: number; after?: string }) => {
      if (limit < 1 || limit > mostListed) deps.fail(`--limit is from 1 to ${mostListed}.`)
      const { prisma } = await deps.openDatabase()
      const { routes: found, next } = await pageRoutes(prisma, filter, { limit, after })
      const data = found.map(describeRoute)
      const rows = data.map((route) => [route.id, routeName(route), route.api, asks(route)])
      const shown = table(['route', 'request', 'api', 'asks'], rows, 'There is no route.')
      deps.out({ data, next }, [shown, ...(next === null ? [] : [`There are more: --after ${next}`])].join('\n'))
    })

  routes
    .command('show')
    .description('one route')
    .argument('<route>', 'its id')
    .action(async (id: string) => {
      const { prisma } = await deps.openDatabase()
      const shown = describeRoute(await findRoute(prisma, id))
      deps.out(shown, details(shown))
    })

  asking(
    routes
      .command('create')
      .description('a route, which is tried after all others')
      .requiredOption('--host <host>', 'in lower case, with its port where it has one')
      .requiredOption('--method <method>', routeMethods.join(' | '))
      .requiredOption('--path <path>', 'as in /orders/{id}')
      .requiredOption('--api <identifier>', 'the API behind it'),
  )
    .option('--before <route>', 'tried in front of this one: its id')
    .action(async ({ before, ...options }: Key & Asked & { before?: string }) => {
      const { prisma } = await deps.openDatabase()
      const made = await createRoute(prisma, { ...keyOf(options), ...askedOf(options) }, { before }, cliChange(deps))
      deps.out(describeRoute(made), `Created ${routeName(made)}: route ${made.id}.`)
    })

  const update = asking(
    routes
      .command('update')
      .description('says what is asked, in place of what was')
      .argument('<route>', 'its id')
      .option('--host <host>', 'in lower case, with its port where it has one')
      .option('--method <method>', routeMethods.join(' | '))
      .option('--path <path>', 'as in /orders/{id}')
      .option('--api <identifier>', 'the API behind it'),
  )
    .option(
      '--reset <setting>',
      `back to its default: ${resettable.join(' | ')}; may be given several times`,
      collectReset,
    )
    .action(async (id: string, { reset = [], ...options }: Partial<Key> & Asked & { reset?: Resettable[] }) => {
      const said = { ...keyOf(options), ...askedOf(options) }
      const both = reset.find((name) => said[name] !== undefined)
      if (both) update.error(`error: ${both} is both set and reset`, { exitCode: 2 })
      const patch: Patch<WrittenRoute> = { ...said, ...Object.fromEntries(reset.map((name) => [name, null])) }
      if (Object.values(patch).every((value) => value === undefined))
        update.error('error: say what is to change', { exitCode: 2 })
      const { prisma } = await deps.openDatabase()
      const was = describeRoute(await findRoute(prisma, id))
      const seen = fingerprint(was)
      const is = describeRoute(await unlessChanged(() => patchRoute(prisma, id, patch, cliChange(deps), seen)))
      deps.out({ was, is }, `${routeName(is)}\n${differences(was, is)}`)
    })

  routes
    .command('delete')
    .description('what no other route names is then refused by gateways')
    .argument('<route>', 'its id')
    .action(async (id: string) => {
      const { prisma } = await deps.openDatabase()
      const was = describeRoute(await findRoute(prisma, id))
      await unlessChanged(() => removeRoute(prisma, id, cliChange(deps), fingerprint(was)))
      deps.out({ id, deleted: true, was }, `Deleted ${routeName(was)}.`)
    })

  routes
    .command('order')
    .description('the order in which routes are tried; with ids, changes it')
    .argument('[route...]', 'the ids of all routes; - reads them from standard input, one a line')
    .action(async (given: string[]) => {
      const ids = given[0] === '-' && given.length === 1 ? await readIds() : given
      const { prisma } = await deps.openDatabase()
      const before = await listRoutes(prisma)
      if (given.length === 0) return deps.out(describeOrder(before), orderOf(before))
      const seen = fingerprint(describeOrder(before))
      sayMoved(before, await unlessChanged(() => orderRoutes(prisma, ids, cliChange(deps), seen)))
    })

  routes
    .command('move')
    .description('past the next route of its host')
    .argument('<route>', 'its id')
    .addOption(new Option('--up', 'it is tried earlier').conflicts('down'))
    .addOption(new Option('--down', 'it is tried later'))
    .action(async (id: string, { up, down }: { up?: true; down?: true }, command: Command) => {
      if (!up && !down) command.error('error: say --up or --down', { exitCode: 2 })
      const { prisma } = await deps.openDatabase()
      const before = await listRoutes(prisma)
      const seen = fingerprint(describeOrder(before))
      await unlessChanged(() => moveRoute(prisma, id, up ? 'up' : 'down', cliChange(deps), seen))
      sayMoved(before, await listRoutes(prisma))
    })

  routes
    .command('match')
    .description('which route answers a request? Asks the matcher of the gate. Ends with 1 where none does')
    .argument('<method>', 'such as GET')
    .argument('<address>', 'as it is sent, such as https://api.example.com/orders/88')
    .action(async (method: string, address: string, _options: object, command: Command) => {
      const question = readQuestion(method, address)
      if (!question)
        return command.error('error: write the address with http:// or https:// and a host', { exitCode: 2 })
      const { prisma } = await deps.openDatabase()
      const { whichRoute } = await import('#src/gate/which-route.ts')
      const answer = whichRoute(await listRoutes(prisma), question)
      if ('because' in answer) {
        process.exitCode = 1
        return deps.out({ route: null, parameters: {}, because: answer.because }, reasons[answer.because])
      }
      const route = describeRoute(answer.route)
      const parameters = { ...answer.parameters }
      deps.out({ route, parameters, because: null }, details({ ...route, parameters }))
    })

  registerOpenapi(routes, deps)

  function sayMoved(before: readonly RouteRecord[], after: readonly RouteRecord[]): void {
    const places = new Map(before.map(({ id }, at) => [id, at + 1]))
    const rows = after.flatMap((route, at) => {
      const was = places.get(route.id)
      return was === at + 1 ? [] : [[String(was ?? '-'), String(at + 1), route.id, routeName(route)]]
    })
    const shown = table(['was', 'is', 'route', 'request'], rows, 'Nothing moved: they are in that order.')
    deps.out({ was: describeOrder(before).data, is: describeOrder(after).data }, shown)
  }

  async function readIds(): Promise<string[]> {
    const ids = (await text(process.stdin)).split(/\s+/).filter(Boolean)
    if (ids.length === 0) deps.fail('There is no route on standard input.')
    return ids
  }

  /** The room's words for it speak of headers, which nobody has sent here. */
  async function unlessChanged<Result>(change: () => Promise<Result>): Promise<Result> {
    try {
      return await change()
    } catch (error) {
      if (!(error instanceof ChangedMeanwhile)) throw error
      return deps.fail('Somebody changed it at the same moment. Look at it again, then say what is to change.')
    }
  }
}

/** What a route may ask for, of a new one and of a change. */
const asking = (command: Command): Command =>
  command
    .option('--scope <scope>', 'of that API; all of them are asked for; may be given several times', collect)
    .option('--role <role>', 'any one of them will do; may be given several times', collect)
    .option('--relation <relation>', 'as in owner@order:{id}')
    .option('--acr-value <acr>', 'the sign-in must have reached one of them; may be given several times', collect)
    .option('--max-age <seconds>', 'since the sign-in, at most', wholeNumber)
    .option('--anonymous', 'nobody is asked anything')

const keyOf = <K extends Partial<Key>>({ host, method, path, api }: K) =>
  ({ host, method, path, api }) as Pick<K, 'host' | 'method' | 'path' | 'api'>

const askedOf = ({ scope, role, relation, acrValue, maxAge, anonymous }: Asked): Pick<WrittenRoute, Resettable> => ({
  ...{ scopes: scope, roles: role, relation, acrValues: acrValue, maxAge, anonymous },
})

function collectReset(value: string, before: Resettable[] = []): Resettable[] {
  const name = resettable.find((one) => one === value)
  if (!name) throw new InvalidArgumentError(`Write one of: ${resettable.join(', ')}.`)
  return [...before, name]
}

/** In one cell. */
function asks({ scopes, roles, relation, acrValues, maxAge, anonymous }: Route): string {
  if (anonymous) return 'nothing of anybody'
  const asked = [
    ...scopes,
    ...(roles.length > 0 ? [`role ${roles.join(' or ')}`] : []),
    ...(relation === null ? [] : [relation]),
    ...(acrValues.length > 0 ? [`acr ${acrValues.join(' or ')}`] : []),
    ...(maxAge === null ? [] : [`a sign-in of the last ${maxAge} s`]),
  ]
  return asked.length > 0 ? asked.join(', ') : 'who it is'
}

function differences(was: Route, is: Route): string {
  const names = (Object.keys(is) as (keyof Route)[]).filter((name) => say(was[name]) !== say(is[name]))
  const rows = names.map((name) => [name, say(was[name]), say(is[name])])
  return table(['', 'was', 'is'], rows, 'It was so before.')
}

const say = (value: Route[keyof Route]): string => (Array.isArray(value) ? value.join(' ') : String(value ?? '')) || '-'

const orderOf = (routes: readonly RouteRecord[]): string =>
  table(
    ['place', 'route', 'request'],
    routes.map((route, at) => [String(at + 1), route.id, routeName(route)]),
    'There is no route.',
  )

const reasons = {
  no_route: 'No route answers it: gateways refuse it.',
  unreadable: 'Two parties could read it in two ways, so no route answers it: gateways refuse it.',
  sign_in: 'It is the way back of a sign-in, which no route gets.',
}
