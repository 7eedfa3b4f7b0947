// What is said to somebody who has guessed too often, on whatever page: when to come back, and nothing about whom it was tried for.
import type { Context } from 'koa'
import type { MessageArguments, MessageKey } from '#src/words.ts'

export type Said = { key: MessageKey; args?: MessageArguments }

/** RFC 6585 4. @returns the words for the page, which is then sent with status 429. */
export function sayLimited(ctx: Context, retryAfterSeconds: number): Said {
  ctx.set('Retry-After', String(retryAfterSeconds))
  const minutes = Math.ceil(retryAfterSeconds / 60)
  return minutes <= 90
    ? { key: 'limited.minutes', args: { minutes } }
    : { key: 'limited.hours', args: { hours: Math.ceil(minutes / 60) } }
}
