// sallyport webhooks: where events are told, and what came of it (docs/webhooks.md). The server sends; here is said what.
import type { Command } from 'commander'
import type { Patch } from '#src/editing.ts'
import {
  type DeliveryState,
  deliveryStates,
  describeDelivery,
  findDelivery,
  isDeliveryId,
  listDeliveries,
  resendDelivery,
  testEndpoint,
} from '#src/webhooks/deliveries.ts'
import {
  createEndpoint,
  deleteEndpoint,
  describeEndpoint,
  type EndpointInput,
  type EndpointRecord,
  findEndpoint,
  listEndpoints,
  patchEndpoint,
  rotateEndpointSecret,
  usualOverlapHours,
} from '#src/webhooks/endpoints.ts'
import { webhookTypes } from '#src/webhooks/types.ts'
import type { CliDeps } from './deps.ts'
import { cliChange, collect, wholeNumber } from './input.ts'
import { details, table } from './table.ts'

type Delivery = ReturnType<typeof describeDelivery>

export function register(program: Command, deps: CliDeps): void {
  const webhooks = program.command('webhooks').description('where events are told')
  const describe = (record: EndpointRecord) => describeEndpoint(record, deps.now())

  webhooks
    .command('list')
    .description('every webhook')
    .action(async () => {
      const { prisma } = await deps.openDatabase()
      const shown = (await listEndpoints(prisma)).map(describe)
      const rows = shown.map(({ id, name, state, url, types }) => [id, name, state, url, types.join(' ')])
      deps.out(shown, table(['webhook', 'name', 'state', 'url', 'types'], rows, 'There is no webhook.'))
    })

  webhooks
    .command('types')
    .description('the types of events that a webhook may ask for')
    .action(() => deps.out(webhookTypes, webhookTypes.join('\n')))

  webhooks
    .command('show')
    .description('one webhook; never its secret')
    .argument('<webhook>', 'its id')
    .action(async (id: string) => {
      const { prisma } = await deps.openDatabase()
      const shown = describe(await findEndpoint(prisma, id))
      deps.out(shown, details(shown))
    })

  webhooks
    .command('create')
    .description('a webhook, whose secret is printed once')
    .argument('<url>', 'where its events are posted')
    .requiredOption('--type <type>', 'what it is told, such as user.created, user.* or *; may be repeated', collect)
    .option('--name <name>', 'by which a declarative file knows it (default: the host of its address)')
    .option('--description <text>', 'for people')
    .action(
      async (url: string, { type: types, ...settings }: { type: string[]; name?: string; description?: string }) => {
        const { prisma } = await deps.openDatabase()
        const known = { secretKeys: deps.secretKeys(), networks: deps.config().webhookNetworks }
        const { record, secret } = await createEndpoint(prisma, { url, types, ...settings }, known, cliChange(deps))
        deps.out({ ...describe(record), secret }, saySecret(record.id, secret))
      },
    )

  webhooks
    .command('update')
    .description('another address, other types')
    .argument('<webhook>', 'its id')
    .option('--url <url>', 'where its events are posted')
    .option('--type <type>', 'what it is told, in place of what it was; may be repeated', collect)
    .option('--name <name>', 'by which a declarative file knows it')
    .option('--description <text>', 'for people')
    .action(
      (id: string, { type: types, ...patch }: { url?: string; type?: string[]; name?: string; description?: string }) =>
        change(id, { ...patch, types }, 'Changed'),
    )

  webhooks
    .command('enable')
    .description('send again, what waits first')
    .argument('<webhook>', 'its id')
    .action((id: string) => change(id, { enabled: true }, 'Enabled'))

  webhooks
    .command('disable')
    .description('send nothing; what waits goes on waiting')
    .argument('<webhook>', 'its id')
    .action((id: string) => change(id, { enabled: false }, 'Disabled'))

  webhooks
    .command('delete')
    .description('with what was or was to be delivered to it')
    .argument('<webhook>', 'its id')
    .action(async (id: string) => {
      const { prisma } = await deps.openDatabase()
      await deleteEndpoint(prisma, id, cliChange(deps))
      deps.out({ id, deleted: true }, `Deleted the webhook ${id}.`)
    })

  webhooks
    .command('rotate')
    .description('a new secret, printed once; the one before signs beside it for a while')
    .argument('<webhook>', 'its id')
    .option('--overlap-hours <hours>', `how long; 0 ends it at once (default: ${usualOverlapHours})`, wholeNumber)
    .action(async (id: string, options: { overlapHours?: number }) => {
      const { prisma } = await deps.openDatabase()
      const { record, secret } = await rotateEndpointSecret(prisma, id, options, deps.secretKeys(), cliChange(deps))
      const shown = describe(record)
      const until = shown.previousSecretUntil
      const before = until ? [`The secret before signs, too, until ${until.toISOString()}.`] : []
      deps.out({ ...shown, secret }, [saySecret(id, secret), ...before].join('\n'))
    })

  webhooks
    .command('test')
    .description('have the server send the event webhook.test to it')
    .argument('<webhook>', 'its id')
    .action(async (id: string) => {
      const { prisma } = await deps.openDatabase()
      const shown = describeDelivery(await testEndpoint(prisma, id, cliChange(deps)))
      deps.out(shown, `The test is delivery ${shown.id}: sallyport webhooks delivery ${id} ${shown.id}`)
    })

  webhooks
    .command('deliveries')
    .description('what was or is to be delivered, newest first')
    .argument('<webhook>', 'its id')
    .option('--state <state>', deliveryStates.join(', '))
    .option('--type <type>', 'of one type of event')
    .option('--after <delivery>', 'older than this one')
    .option('--limit <number>', 'how many at most (default: 50)', wholeNumber)
    .action(async (id: string, options: ListOptions, command: Command) => {
      const { state, type, after, limit = 50 } = options
      if (state !== undefined && !isState(state)) wrong(command, `--state is one of ${deliveryStates.join(', ')}`)
      if (after !== undefined && !isDeliveryId(after)) wrong(command, '--after is the id of a delivery')
      const { prisma } = await deps.openDatabase()
      const filter = { state: state as DeliveryState | undefined, type }
      const shown = (await listDeliveries(prisma, id, filter, { after, limit })).map(describeDelivery)
      deps.out(
        shown,
        table(
          ['delivery', 'type', 'state', 'attempts', 'last', 'next'],
          shown.map(rowOf),
          'There is no such delivery.',
        ),
      )
    })

  webhooks
    .command('delivery')
    .description('one delivery, with each attempt')
    .argument('<webhook>', 'its id')
    .argument('<delivery>', 'its number')
    .action(async (id: string, deliveryId: string) => {
      const { prisma } = await deps.openDatabase()
      sayDelivery(describeDelivery(await findDelivery(prisma, id, deliveryId)))
    })

  webhooks
    .command('resend')
    .description('have the server send an event again')
    .argument('<webhook>', 'its id')
    .argument('<delivery>', 'its number')
    .action(async (id: string, deliveryId: string) => {
      const { prisma } = await deps.openDatabase()
      const shown = describeDelivery(await resendDelivery(prisma, id, deliveryId, cliChange(deps)))
      deps.out(shown, `Delivery ${deliveryId} is sent again.`)
    })

  async function change(id: string, patch: Patch<EndpointInput>, done: string): Promise<void> {
    const { prisma } = await deps.openDatabase()
    const record = await patchEndpoint(prisma, id, patch, deps.config().webhookNetworks, cliChange(deps))
    deps.out(describe(record), `${done} the webhook ${id}.`)
  }

  function sayDelivery({ log, ...delivery }: Delivery): void {
    const rows = log.map(({ number, at, status, milliseconds, problem, answer }) => [
      ...[String(number), at.toISOString(), String(status ?? '-'), `${milliseconds} ms`, problem ?? '-', answer || '-'],
    ])
    const attempts = table(['attempt', 'at', 'status', 'took', 'problem', 'answer'], rows, 'It was not sent yet.')
    deps.out({ ...delivery, log }, [details(delivery), attempts].join('\n\n'))
  }
}

type ListOptions = { state?: string; type?: string; after?: string; limit?: number }

const isState = (state: string): boolean => (deliveryStates as readonly string[]).includes(state)

const wrong = (command: Command, what: string) => command.error(`error: ${what}`, { exitCode: 2 })

function rowOf({ id, type, state, attempts, log, nextAttemptAt }: Delivery): string[] {
  const last = log[0] ? String(log[0].status ?? log[0].problem) : '-'
  return [id, type, state, String(attempts), last, nextAttemptAt?.toISOString() ?? '-']
}

const saySecret = (id: string, secret: string) =>
  [`Secret of the webhook ${id}:`, '', `  ${secret}`, '', 'It is not shown again.'].join('\n')
