// One route of the admin API: what it is called, what it needs, what it takes and gives, what it does. The schemas that describe it to a
// reader (openapi.ts) are the ones that its requests are read with.
import { Readable } from 'node:stream'
import type { Context } from 'koa'
import { z } from 'zod'
import type { AdminGuardDeps, Caller } from '#src/admin/guard.ts'
import type { RouteAnswer, RouteQuestion, RouteRecord } from '#src/apis/routes.ts'
import type { Change } from '#src/audit/change.ts'
import type { Installation } from '#src/checkup/finding.ts'
import type { Config } from '#src/config.ts'
import type { Database, Db } from '#src/db/database.ts'
import { requestOf } from '#src/http/request-context.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'

export type AdminApiDeps = AdminGuardDeps & {
  database: Database
  now: () => Date
  config: Pick<
    Config,
    'signUp' | 'apiKeys' | 'inForce' | 'fromEnvironment' | 'decisionReceiptsPermitted' | 'webhookNetworks'
  > &
    Installation['config']
  secretKeys: SecretKeys
  /** The gate's own matcher. @param routes in the order in which they are tried. */
  whichRoute(routes: readonly RouteRecord[], question: RouteQuestion): RouteAnswer
}

/** One request, read and admitted. */
export type Call<Query, Body> = {
  /** For headers and for what a room wants to know of a request. Query and body were read. */
  ctx: Context
  /** Of the path. */
  id: string
  query: Query
  body: Body
  caller: Caller
  /** A transaction where the request has an Idempotency-Key: what is done and that it was done are one commit. */
  db: Db
  change: Change
  /** What `If-Match` says of the version that the caller saw (src/editing.ts). */
  seen: string | undefined
}

type Spec<Query extends z.ZodObject, Body extends z.ZodType, Answer extends z.ZodType> = {
  /** The scope of `<issuer>/api` that opens it. */
  scope: string
  /** The name of the operation, for programs that are made from the description. */
  name: string
  /** For readers, a phrase: "List applications". */
  summary: string
  query?: Query
  body?: Body
  /** Bytes. */
  bodyLimit?: number
  answer: Answer
  /** Where the answer is no JSON but a file that is written as it is read: its media types. `answer` is then `file`. */
  files?: readonly string[]
  /** Default 200. */
  status?: 200 | 201
  /** The answer has an ETag. Where one is changed: the caller must say in `If-Match` which one they saw. */
  versioned?: boolean
  /** The answer holds something that is shown once: it is in no cache. */
  secret?: boolean
  /** A person must have signed in with two factors in the last five minutes (docs/decisions/051). Default: whatever changes something. */
  sensitive?: boolean
  /** May be sent again with the same Idempotency-Key, and is done once (idempotency.ts). */
  once?: boolean
  handle(call: Call<z.output<Query>, z.output<Body>>): Promise<z.input<Answer>>
}

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete'

// biome-ignore lint/suspicious/noExplicitAny: routes of different shapes stand in one table; each was checked where it was made
export type AdminRoute = Spec<z.ZodObject, z.ZodType, any> & { method: Method; path: string }

type Nothing = z.ZodObject<Record<never, never>, z.core.$strict>

/** Holds query, body, answer and handler of one route to each other.
 *  @param at as in `get /clients/:id`, below /api/v1. */
export function route<
  Answer extends z.ZodType,
  Query extends z.ZodObject = Nothing,
  Body extends z.ZodType = z.ZodUndefined,
>(at: `${Method} /${string}`, spec: Spec<Query, Body, Answer>): AdminRoute {
  const [method, path] = at.split(' ')
  return { ...spec, method, path } as unknown as AdminRoute
}

/** What nobody thought about matters. */
export const isSensitive = ({ method, sensitive }: AdminRoute): boolean => sensitive ?? method !== 'get'

/** Who changes something, for the room's audit row. Behind the guard. */
export function changeBy(ctx: Context, now: Date): Change {
  const { actor } = ctx.state.caller as Caller
  const { requestId } = requestOf(ctx)
  return { now, actor, origin: { address: ctx.ip, userAgent: ctx.get('User-Agent') || undefined, requestId } }
}

/** An answer of `files`. */
export const file = z.custom<Readable>((value) => value instanceof Readable).meta({ type: 'string', format: 'binary' })

/** RFC 3339. Rooms give dates; what leaves is text. */
export const instant = z
  .custom<Date>((value) => value instanceof Date)
  .meta({ type: 'string', format: 'date-time', id: 'Instant' })

/** With its offset from UTC: a moment without one means another hour to everybody who reads it. */
export const moment = z.iso.datetime({ offset: true })

/** A flag of a query. */
export const yesOrNo = z
  .enum(['true', 'false'])
  .transform((text) => text === 'true')
  .meta({ type: 'boolean' })

/** For what others may depend on: without it, a deletion that would touch them is refused and says whom. */
export const cascade = z.strictObject({
  cascade: yesOrNo
    .default(false)
    .meta({ type: 'boolean', default: false, description: 'Delete it although others depend on it.' }),
})

export const deleted = z.strictObject({ id: z.string(), deleted: z.boolean() })

/** The same fields for a change: null puts one back to its default. */
export function resettable<Shape extends Record<string, z.ZodOptional<z.ZodType>>>(shape: Shape) {
  return Object.fromEntries(Object.entries(shape).map(([name, field]) => [name, field.nullable()])) as {
    [K in keyof Shape]: z.ZodNullable<Shape[K]>
  }
}
