// /api/v1/webhooks: where events are told, and what came of it (docs/webhooks.md). Whoever may write them hears of everything that is told, and of
// nothing that is not: no secret is in an event.
import { z } from 'zod'
import {
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
  findEndpoint,
  listEndpoints,
  patchEndpoint,
  rotateEndpointSecret,
  usualOverlapHours,
} from '#src/webhooks/endpoints.ts'
import { webhookTypes } from '#src/webhooks/types.ts'
import { cutPage, listOf, pageOf } from './page.ts'
import { type AdminApiDeps, type AdminRoute, deleted, instant, resettable, route } from './route.ts'

export function webhookRoutes({ config, secretKeys }: AdminApiDeps): AdminRoute[] {
  return [
    route('get /webhooks', {
      scope: 'webhooks:read',
      name: 'listWebhooks',
      summary: 'List webhooks, and the types of events that they may ask for',
      answer: z.strictObject({ data: z.array(webhook), types: z.array(text) }),
      handle: async ({ db, change: { now } }) => ({
        data: (await listEndpoints(db)).map((record) => describeEndpoint(record, now)),
        types: webhookTypes,
      }),
    }),

    route('post /webhooks', {
      scope: 'webhooks:write',
      name: 'createWebhook',
      summary: 'Create a webhook; its secret is shown in this answer only',
      body: z.strictObject({ name: name.optional(), url: text, types: z.array(text), ...settings }),
      answer: shownOnce,
      status: 201,
      secret: true,
      once: true,
      async handle({ db, body, change }) {
        const deps = { secretKeys, networks: config.webhookNetworks }
        const { record, secret } = await createEndpoint(db, body, deps, change)
        return { ...describeEndpoint(record, change.now), secret }
      },
    }),

    route('get /webhooks/:id', {
      scope: 'webhooks:read',
      name: 'readWebhook',
      summary: 'Read a webhook; never its secret',
      answer: webhook,
      versioned: true,
      handle: async ({ db, id, change: { now } }) => describeEndpoint(await findEndpoint(db, id), now),
    }),

    route('patch /webhooks/:id', {
      scope: 'webhooks:write',
      name: 'changeWebhook',
      summary: 'Change, enable or disable a webhook',
      body: z.strictObject({
        name: name.optional(),
        url: text.optional(),
        types: z.array(text).optional(),
        ...resettable(settings),
      }),
      answer: webhook,
      versioned: true,
      handle: async ({ db, id, body, change, seen }) =>
        describeEndpoint(await patchEndpoint(db, id, body, config.webhookNetworks, change, seen), change.now),
    }),

    route('delete /webhooks/:id', {
      scope: 'webhooks:write',
      name: 'deleteWebhook',
      summary: 'Delete a webhook, with what was or was to be delivered to it',
      answer: deleted,
      async handle({ db, id, change }) {
        await deleteEndpoint(db, id, change)
        return { id, deleted: true }
      },
    }),

    route('post /webhooks/:id/rotate', {
      scope: 'webhooks:write',
      name: 'rotateWebhookSecret',
      summary: 'Give a webhook a new secret; the one before signs beside it for the overlap',
      body: z.strictObject({
        overlapHours: z
          .number()
          .int()
          .optional()
          .meta({
            description: `0 to 168, default ${usualOverlapHours}. 0 ends the secret before at once.`,
          }),
      }),
      answer: shownOnce,
      secret: true,
      once: true,
      async handle({ db, id, body, change }) {
        const { record, secret } = await rotateEndpointSecret(db, id, body, secretKeys, change)
        return { ...describeEndpoint(record, change.now), secret }
      },
    }),

    route('post /webhooks/:id/test', {
      scope: 'webhooks:write',
      sensitive: false,
      name: 'testWebhook',
      summary: 'Send the event webhook.test to this webhook alone',
      answer: delivery,
      status: 201,
      once: true,
      handle: async ({ db, id, change }) => describeDelivery(await testEndpoint(db, id, change)),
    }),

    route('get /webhooks/:id/deliveries', {
      scope: 'webhooks:read',
      name: 'listWebhookDeliveries',
      summary: 'List what was or is to be delivered to a webhook, newest first',
      query: deliveriesPage,
      answer: listOf(delivery),
      async handle({ db, id, query: { after, limit, ...filter } }) {
        const records = await listDeliveries(db, id, filter, { after, limit: limit + 1 })
        return cutPage(records, limit, describeDelivery, (record) => String(record.id))
      },
    }),

    route('get /webhooks/:id/deliveries/:deliveryId', {
      scope: 'webhooks:read',
      name: 'readWebhookDelivery',
      summary: 'Read one delivery',
      answer: delivery,
      handle: async ({ db, id, ctx }) => describeDelivery(await findDelivery(db, id, ctx.params.deliveryId)),
    }),

    route('post /webhooks/:id/deliveries/:deliveryId/resend', {
      scope: 'webhooks:write',
      sensitive: false,
      name: 'resendWebhookDelivery',
      summary: 'Send an event to a webhook again, under the same webhook-id',
      answer: delivery,
      once: true,
      handle: async ({ db, id, ctx, change }) =>
        describeDelivery(await resendDelivery(db, id, ctx.params.deliveryId, change)),
    }),
  ]
}

const text = z.string()
const name = text.meta({ description: 'By which a declarative file knows it. Left out: the host of its address.' })
const settings = { description: text.optional(), enabled: z.boolean().optional() }
const deliveriesPage = pageOf({
  after: text
    .refine(isDeliveryId, 'after must be the value of next in the page before.')
    .optional()
    .meta({ description: 'The value of `next` in the page before.' }),
  state: z.enum(deliveryStates).optional(),
  type: text.max(64).optional(),
})
const webhook = z
  .strictObject({
    id: text,
    name: text,
    url: text,
    description: text,
    types: z.array(text).meta({ description: 'Types of events, every type of a group such as user.*, or *.' }),
    enabled: z.boolean(),
    state: text.meta({ description: 'enabled, failing or disabled' }),
    disabledBecause: text.nullable().meta({ description: 'by_hand, failing or gone (it answered 410)' }),
    disabledAt: instant.nullable(),
    failingSince: instant.nullable(),
    createdAt: instant,
    previousSecretUntil: instant.nullable().meta({ description: 'Until then the secret before signs, too.' }),
  })
  .meta({ id: 'Webhook' })
const shownOnce = webhook.extend({ secret: text }).meta({ id: 'WebhookWithSecret' })
const delivery = z
  .strictObject({
    id: text,
    eventId: text.meta({ description: 'Sent as webhook-id.' }),
    type: text,
    state: z.enum(deliveryStates),
    attempts: z.number(),
    createdAt: instant,
    nextAttemptAt: instant.nullable(),
    endedAt: instant.nullable(),
    body: text.meta({ description: 'What is posted, byte for byte.' }),
    log: z
      .array(
        z.strictObject({
          number: z.number(),
          at: instant,
          milliseconds: z.number(),
          status: z.number().nullable().meta({ description: 'null: there was no answer.' }),
          problem: text.nullable().meta({ description: 'null: it was taken.' }),
          answer: text.meta({ description: 'How the answer begins.' }),
        }),
      )
      .meta({ description: 'Newest first.' }),
  })
  .meta({ id: 'WebhookDelivery' })
