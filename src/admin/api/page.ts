// Query parameters, and lists in pages: `limit` entries after the one named by `after` (keyset paging: stable while rows come and go).
import type { Context } from 'koa'
import { z } from 'zod'
import { HttpError, safeName } from '#src/http/http-error.ts'

/** Parameters of a list, to be extended by its filters. */
export function pageOf<Filters extends z.ZodRawShape = Record<never, never>>(
  filters?: Filters,
  { usual = 50, most = 200, longest = 1000 }: { usual?: number; most?: number; longest?: number } = {},
) {
  const whole = `limit must be a whole number from 1 to ${most}.`
  return z.strictObject({
    after: z
      .string()
      .max(longest, cursorProblem)
      .regex(/^[\x21-\x7e]+$/, cursorProblem)
      .optional()
      .meta({ description: 'The value of `next` in the page before.' }),
    limit: z
      .string()
      .regex(/^[1-9]\d{0,3}$/, whole)
      .refine((text) => Number(text) <= most, whole)
      .default(String(usual))
      .transform(Number)
      .meta({ type: 'integer', minimum: 1, maximum: most, default: usual, description: 'How many at most.' }),
    ...((filters ?? {}) as Filters),
  })
}

const cursorProblem = 'after must be the value of next in the page before.'

/** For `after` where entries are known by a UUID. */
export function readAfter(after: string | undefined): string | undefined {
  if (after !== undefined && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(after)) throw badQuery(cursorProblem)
  return after
}

/** A page as it leaves. */
export const listOf = <Item extends z.ZodType>(item: Item) =>
  z.strictObject({
    data: z.array(item),
    next: z
      .string()
      .nullable()
      .meta({ description: 'What to send as `after` for the page behind this one; null: there is none.' }),
  })

/** @param records up to one more than asked for: that one tells that there is another page. */
export function cutPage<Row, Shown>(
  records: readonly Row[],
  limit: number,
  show: (record: Row) => Shown,
  key: (record: Row) => string,
): { data: Shown[]; next: string | null } {
  const shown = records.slice(0, limit)
  const last = shown.at(-1)
  return { data: shown.map(show), next: records.length > limit && last ? key(last) : null }
}

/** @throws HttpError 400 for a parameter that is unknown, repeated or out of range: a misspelt filter must not return everything. */
export function readQuery<Query extends z.ZodObject>(ctx: Context, schema: Query): z.output<Query> {
  const known = Object.keys(schema.shape)
  for (const [name, value] of Object.entries(ctx.query)) {
    if (!known.includes(name))
      throw badQuery(
        `The parameter ${safeName(name)} is not known here. ${known.length > 0 ? `Known: ${known.join(', ')}.` : 'There is none.'}`,
      )
    if (typeof value !== 'string') throw badQuery(`The parameter ${safeName(name)} is repeated: send it once.`)
  }
  const result = schema.safeParse({ ...ctx.query })
  if (result.success) return result.data
  throw badQuery([...new Set(result.error.issues.map(sentenceOf))].join(' '))
}

/** Sentences of ours end with a full stop; what the library says is in its own words and names no parameter. */
function sentenceOf({ message, path }: z.core.$ZodIssue): string {
  return message.endsWith('.') ? message : `${path.join('.')} has the wrong form.`
}

export const badQuery = (description: string): HttpError =>
  new HttpError({ status: 400, error: 'invalid_request', description })
