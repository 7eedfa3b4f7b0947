// The header Idempotency-Key, for operations that may be sent again: what it asks of a request, and where its answer comes from.
import { HttpError } from '#src/http/http-error.ts'
import { once } from '#src/idempotency/once.ts'
import { badQuery } from './page.ts'
import type { AdminApiDeps, AdminRoute, Call } from './route.ts'

/** @throws HttpError 400 for a key where none is kept: whoever sends one relies on it. */
export async function doOnce(deps: AdminApiDeps, route: AdminRoute, call: Call<unknown, unknown>): Promise<object> {
  const { ctx, caller, change, query, body } = call
  const key = ctx.get('Idempotency-Key')
  // biome-ignore lint/suspicious/noExplicitAny: query and body were read by the schemas of this very route
  const handle = (given: Call<unknown, unknown>): Promise<object> => route.handle(given as any)
  if (key === '') return handle(call)
  if (!route.once) throw badQuery('This operation keeps no Idempotency-Key: leave the header out.')
  if (!/^[\x21-\x7e]{8,255}$/.test(key))
    throw badQuery('Idempotency-Key must have 8 to 255 visible ASCII characters, such as a UUID.')
  const { answer, repeated } = await once(
    deps,
    { by: `${caller.actor.kind} ${caller.actor.id}`, key, asked: [route.name, ctx.path, query, body] },
    change.now,
    (tx) => handle({ ...call, db: tx }),
  ).catch((error: unknown) => {
    throw isBusy(error) ? inProgress() : error
  })
  if (repeated) ctx.set('Idempotency-Replayed', 'true')
  return answer
}

/** The first is still at it when the second has waited as long as a statement may. */
const isBusy = (error: unknown): boolean =>
  error instanceof Error && /55P03|57014|lock timeout|statement timeout/.test(error.message)

const inProgress = (): HttpError =>
  new HttpError({
    status: 409,
    error: 'in_progress',
    description: 'A request with this Idempotency-Key is still being worked on. Send it again in a moment.',
    headers: { 'Retry-After': '2' },
  })
