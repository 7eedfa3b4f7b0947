// One webhook: how it is, and what was delivered to it.
import type { MessageKey } from '#src/http/i18n.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import {
  type DeliveryState,
  deliveryStates,
  describeDelivery,
  findDelivery,
  isDeliveryId,
  listDeliveries,
  resendDelivery,
} from '#src/webhooks/deliveries.ts'
import { describeEndpoint, findEndpoint } from '#src/webhooks/endpoints.ts'
import { type Choice, choices, cut, oneOf, textOf } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'
import { stateWords, webhooksPath } from './list.ts'

export type WebhookPage = {
  href: string
  name: string
  url: string
  description: string
  types: readonly string[]
  state: string
  badge: string
  since: Moment
  previousSecretUntil: Moment | undefined
  states: readonly Choice[]
  deliveries: readonly { href: string; type: string; state: string; badge: string; attempts: number; at: Moment }[]
  next: string | undefined
}
export type DeliveryPage = {
  back: { href: string; label: string }
  type: string
  eventId: string
  state: string
  badge: string
  body: string
  at: Moment
  nextAttempt: Moment | undefined
  log: readonly { number: number; at: Moment; milliseconds: number; outcome: string; answer: string }[]
  flaws: readonly Flaw[]
}

const page = template<WebhookPage>('admin/console/webhook')
const deliveryTemplate = template<DeliveryPage>('admin/console/webhook-delivery')
const perPage = 25

const deliveryWords = {
  waiting: { word: 'console.webhooks.waiting', badge: 'badge-warn' },
  delivered: { word: 'console.webhooks.delivered', badge: 'badge-good' },
  given_up: { word: 'console.webhooks.givenUp', badge: 'badge-bad' },
} as const satisfies Record<DeliveryState, { word: MessageKey; badge: string }>

export function webhookPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: `${webhooksPath}/:id`,
    section: 'webhooks',
    scope: 'webhooks:read',
    async show(request) {
      const { ctx, words, now, person } = request
      const at = (time: Date) => moment(words, time, now, person.zoneinfo)
      const found = describeEndpoint(await findEndpoint(prisma, String(ctx.params.id)), now)
      const { id, name, url, description, types, createdAt, previousSecretUntil } = found
      const state = oneOf(ctx, 'state', deliveryStates)
      const after = textOf(ctx, 'after')
      const listed = await listDeliveries(
        prisma,
        id,
        { state },
        { after: isDeliveryId(after) ? after : undefined, limit: perPage + 1 },
      )
      const { rows, next } = cut(ctx, listed, perPage, (record) => String(record.id))
      const { word, badge } = stateWords[found.state]
      const href = `${webhooksPath}/${id}`
      render(
        request,
        page,
        {
          ...{ href, name, url, description, types, badge, next },
          state: words.t(word),
          since: at(createdAt),
          previousSecretUntil: previousSecretUntil ? at(previousSecretUntil) : undefined,
          states: choices(
            deliveryStates.map((value) => [value, words.t(deliveryWords[value].word)]),
            state,
            words.t('console.any'),
          ),
          deliveries: rows.map(describeDelivery).map((delivery) => ({
            href: `${href}/deliveries/${delivery.id}`,
            type: delivery.type,
            state: words.t(deliveryWords[delivery.state].word),
            badge: deliveryWords[delivery.state].badge,
            attempts: delivery.attempts,
            at: at(delivery.createdAt),
          })),
        },
        { section: 'webhooks' },
      )
    },
  }
}

export function deliveryPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: `${webhooksPath}/:id/deliveries/:delivery`,
    section: 'webhooks',
    scope: 'webhooks:read',
    writes: 'webhooks:write',
    show: (request) => show(request, [], 200),
    async submit(request) {
      const { ctx, change } = request
      const result = await attempt(() =>
        resendDelivery(prisma, String(ctx.params.id), String(ctx.params.delivery), change),
      )
      if (!result.ok) return show(request, result.flaws, result.status)
      goOn(ctx, ctx.path, 'sent')
    },
  }

  async function show(request: ConsoleRequest, flaws: readonly Flaw[], status: number): Promise<void> {
    const { ctx, words, now, person } = request
    const at = (time: Date) => moment(words, time, now, person.zoneinfo)
    const id = String(ctx.params.id)
    const found = describeDelivery(await findDelivery(prisma, id, String(ctx.params.delivery)))
    const { word, badge } = deliveryWords[found.state]
    render(
      request,
      deliveryTemplate,
      {
        back: { href: `${webhooksPath}/${id}`, label: words.t('console.webhooks.webhook') },
        ...{ type: found.type, eventId: found.eventId, body: found.body, badge, flaws },
        state: words.t(word),
        at: at(found.createdAt),
        nextAttempt: found.nextAttemptAt ? at(found.nextAttemptAt) : undefined,
        log: found.log.map(({ number, at: when, milliseconds, status: answered, problem, answer }) => ({
          ...{ number, milliseconds, answer },
          at: at(when),
          outcome: String(answered ?? problem ?? ''),
        })),
      },
      { section: 'webhooks', status },
    )
  }
}
