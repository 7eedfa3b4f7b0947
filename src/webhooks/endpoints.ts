// Where events are told: endpoints, their settings and their secrets. What is told is types.ts, how an event becomes deliveries fan-out.ts, who
// sends them sender.ts, what came of them deliveries.ts.
//
// Order of events: an effect and its audit row -> (trigger, same commit) a row of the outbox -> fan-out: one event, a delivery for each endpoint
// that wants it -> sender: claim, sign, post, note what came of it -> again later, or done.
import { randomUUID } from 'node:crypto'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { AuditEventName } from '#src/audit/events.ts'
import type { Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { applyPatch, type Patch, refuseChanged } from '#src/editing.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { newWebhookSecret } from '#src/outbound/standard-webhooks.ts'
import { checkDistinct, checkText, checkWhole, type Flaw, quote, Refusal } from '#src/refusal.ts'
import { checkUrl } from './addresses.ts'
import { isTypeFilter } from './types.ts'

export type EndpointInput = {
  /** By which the declarative file knows it. Left out: the host of its address. */
  name?: string | undefined
  url: string
  /** Types of events, `user.*`, or `*`. */
  types: readonly string[]
  description?: string | undefined
  /** Default true. */
  enabled?: boolean | undefined
}

export type EndpointRecord = Prisma.WebhookEndpointGetPayload<object>

/** What changing an endpoint needs to know. */
export type EndpointDeps = { secretKeys: SecretKeys; networks: readonly string[] }
/** @param secret one that the receiver has already; left out: a new one. */
type CreateDeps = EndpointDeps & { secret?: string | undefined }

const mostEndpoints = 100
const mostTypes = 100
export const usualOverlapHours = 24
const mostOverlapHours = 168

/** Number of the lock, ours alone. */
const namesLock = 7_270_751

/** What a secret is sealed for; the id of its endpoint is the context. */
export const secretPurpose = 'webhook'

export class InvalidWebhook extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

export class WebhookNotFound extends Refusal {
  constructor() {
    super('missing', [{ field: 'id', problem: 'is no webhook here', fix: 'Look at the list of webhooks.' }])
  }
}

export class WebhookNameTaken extends Refusal {
  constructor(name: string) {
    super('taken', [{ field: 'name', problem: `is taken: there is a webhook ${name}`, fix: 'Choose another name.' }])
  }
}

/** @returns the secret in clear, the only time that it leaves. @throws InvalidWebhook, WebhookNameTaken */
export function createEndpoint(
  db: Db,
  input: EndpointInput,
  { secretKeys, networks, secret = newWebhookSecret() }: CreateDeps,
  change: Change,
): Promise<{ record: EndpointRecord; secret: string }> {
  return atomically(db, async (tx) => {
    refuseFlaws([...checkEndpoint(input, networks), ...checkWebhookSecret('secret', secret)])
    if ((await tx.webhookEndpoint.count()) >= mostEndpoints)
      refuseFlaws([{ field: 'url', problem: `would be one of more than ${mostEndpoints}`, fix: 'Delete one first.' }])
    const id = randomUUID()
    const name = await freeName(tx, input)
    const record = await tx.webhookEndpoint.create({
      data: {
        id,
        name,
        ...columns(input, change.now),
        secret: secretKeys.seal(secretPurpose, id, secret),
        createdAt: change.now,
      },
    })
    await recordWebhook(tx, 'webhook.created', id, change)
    return { record, secret }
  })
}

/** Oldest first. There are a hundred at most. */
export function listEndpoints(db: Db): Promise<EndpointRecord[]> {
  return db.webhookEndpoint.findMany({ orderBy: [{ createdAt: 'asc' }, { id: 'asc' }] })
}

/** @throws WebhookNotFound */
export async function findEndpoint(db: Db, id: string): Promise<EndpointRecord> {
  const record = isUuid(id) ? await db.webhookEndpoint.findUnique({ where: { id } }) : null
  if (!record) throw new WebhookNotFound()
  return record
}

/** Enabling it, or giving it another address, forgets how it failed: what waits is sent at once.
 *  @param seen the fingerprint of what the editor saw of describeEndpoint. @throws WebhookNotFound, ChangedMeanwhile, InvalidWebhook,
 *  WebhookNameTaken */
export function patchEndpoint(
  db: Db,
  id: string,
  patch: Patch<EndpointInput>,
  networks: readonly string[],
  change: Change,
  seen?: string,
): Promise<EndpointRecord> {
  return atomically(db, async (tx) => {
    const current = await lockEndpoint(tx, id)
    refuseChanged(seen, describeEndpoint(current, change.now))
    const { url, types, description, disabledAt } = current
    const was = { name: current.name, url, types, description, enabled: disabledAt === null }
    const input = applyPatch<EndpointInput>(was, patch)
    refuseFlaws(checkEndpoint(input, networks))
    const name = input.name === current.name ? current.name : await freeName(tx, input, id)
    const { disabledAt: at, disabledBecause, ...settings } = columns(input, change.now)
    const stays = disabledAt !== null && at !== null // since when, and why, is not rewritten
    const record = await tx.webhookEndpoint.update({
      where: { id },
      data: {
        name,
        ...settings,
        ...(stays ? {} : { disabledAt: at, disabledBecause }),
        ...(at === null && (disabledAt !== null || input.url !== url) ? forgotten : {}),
      },
    })
    await recordWebhook(tx, 'webhook.updated', id, change)
    return record
  })
}

/** With everything that was or was to be delivered to it. @throws WebhookNotFound */
export function deleteEndpoint(db: Db, id: string, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    await lockEndpoint(tx, id)
    await tx.webhookEndpoint.delete({ where: { id } })
    await recordWebhook(tx, 'webhook.deleted', id, change)
  })
}

/** A new secret; the one before signs beside it for the overlap, and one before that no more.
 *  @returns the secret in clear, the only time that it leaves. @throws WebhookNotFound, InvalidWebhook */
export function rotateEndpointSecret(
  db: Db,
  id: string,
  { overlapHours = usualOverlapHours }: { overlapHours?: number | undefined },
  secretKeys: SecretKeys,
  change: Change,
): Promise<{ record: EndpointRecord; secret: string }> {
  return atomically(db, async (tx) => {
    refuseFlaws(
      checkWhole('overlapHours', overlapHours, 0, mostOverlapHours, 'The secret before signs for so long, too.'),
    )
    const current = await lockEndpoint(tx, id)
    const secret = newWebhookSecret()
    const overlaps = overlapHours > 0
    const record = await tx.webhookEndpoint.update({
      where: { id },
      data: {
        secret: secretKeys.seal(secretPurpose, id, secret),
        previousSecret: overlaps ? current.secret : null,
        previousSecretUntil: overlaps ? new Date(change.now.getTime() + overlapHours * 3_600_000) : null,
      },
    })
    await recordWebhook(tx, 'webhook.secret_rotated', id, change)
    return { record, secret }
  })
}

/** For people and programs; never a secret. */
export function describeEndpoint(record: EndpointRecord, now: Date) {
  const { id, name, url, description, types, createdAt } = record
  const { disabledAt, disabledBecause, failingSince, previousSecretUntil } = record
  const failing = failingSince ? ('failing' as const) : ('enabled' as const)
  return {
    ...{ id, name, url, description, types },
    enabled: disabledAt === null,
    state: disabledAt ? ('disabled' as const) : failing,
    disabledBecause,
    disabledAt,
    failingSince,
    createdAt,
    /** Until then two secrets sign. */
    previousSecretUntil: previousSecretUntil && previousSecretUntil > now ? previousSecretUntil : null,
  }
}

/** What else changes it waits. @throws WebhookNotFound */
export async function lockEndpoint(tx: Prisma.TransactionClient, id: string): Promise<EndpointRecord> {
  if (isUuid(id)) await tx.$queryRaw`SELECT id FROM webhook_endpoint WHERE id = ${id}::uuid FOR UPDATE`
  return findEndpoint(tx, id)
}

export function recordWebhook(
  db: Db,
  event: AuditEventName,
  id: string,
  change: Change,
  detail: Record<string, string | number> = {},
): Promise<void> {
  const target = { kind: 'webhook', id }
  return recordAudit(db, { event, outcome: 'success', actor: change.actor, target, detail }, change.origin)
}

const forgotten = { failures: 0, failingSince: null, silentUntil: null }

function columns({ url, types, description = '', enabled = true }: EndpointInput, now: Date) {
  return {
    url: new URL(url).href,
    types: [...types],
    description,
    disabledAt: enabled ? null : now,
    disabledBecause: enabled ? null : 'by_hand',
  }
}

/** What the caller asked for; otherwise the host, with a number where others have it. Others that choose a name wait. */
async function freeName(tx: Prisma.TransactionClient, { name, url }: EndpointInput, id?: string): Promise<string> {
  const wanted = name ?? nameFor(url)
  await tx.$executeRaw`SELECT pg_advisory_xact_lock(${namesLock})`
  const others = await tx.webhookEndpoint.findMany({ select: { id: true, name: true } }) // a hundred at most
  const names = new Set(others.flatMap((other) => (other.id === id ? [] : [other.name])))
  if (!names.has(wanted)) return wanted
  if (name !== undefined) throw new WebhookNameTaken(name)
  for (let number = 2; ; number++) if (!names.has(`${wanted}-${number}`)) return `${wanted}-${number}`
}

const nameFor = (url: string): string =>
  new URL(url).hostname
    .replace(/[^a-z0-9.-]/g, '')
    .replace(/^[.-]+/, '')
    .slice(0, 48) || 'webhook'

/** By which the file knows it. */
export function checkWebhookName(field: string, name: string): Flaw[] {
  if (/^[a-z0-9][a-z0-9._-]{0,63}$/.test(name)) return []
  return [
    {
      field,
      problem: 'is not a name of 1 to 64 characters: a to z, 0 to 9, ".", "_" and "-", the first a letter or digit',
      fix: 'Write one such as audit-log.',
    },
  ]
}

/** Standard Webhooks 1.0: 24 to 64 bytes, as base64 behind whsec_. */
export function checkWebhookSecret(field: string, secret: string): Flaw[] {
  const text = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret)?.[1] ?? ''
  const bytes = Buffer.from(text, 'base64')
  if (bytes.length >= 24 && bytes.length <= 64 && bytes.toString('base64') === text) return []
  return [
    {
      field,
      problem: 'is not whsec_ and the base64 of 24 to 64 bytes',
      fix: 'Make one with: printf whsec_; openssl rand -base64 32',
    },
  ]
}

/** What can be said of an address, types and words. @param networks what may be reached besides public addresses. */
export function checkEndpoint(
  { name, url, types, description = '' }: EndpointInput,
  networks: readonly string[],
): Flaw[] {
  const flaws = [...(name === undefined ? [] : checkWebhookName('name', name)), ...checkUrl('url', url, networks)]
  if (description !== '') flaws.push(...checkText('description', description, 256))
  if (types.length === 0 || types.length > mostTypes)
    flaws.push({ field: 'types', problem: `must have 1 to ${mostTypes} entries`, fix: 'Write ["*"] for every event.' })
  for (const [index, type] of types.entries())
    if (!isTypeFilter(type))
      flaws.push({
        field: `types[${index}]`,
        problem: `is ${quote(type)}, which is no type of event`,
        fix: 'Write one of the types that are listed, every type of a group such as user.*, or *.',
      })
  return [...flaws, ...checkDistinct('types', types)]
}

function refuseFlaws(flaws: readonly Flaw[]): void {
  if (flaws.length > 0) throw new InvalidWebhook(flaws)
}

const isUuid = (id: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)
