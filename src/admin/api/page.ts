// Lists in pages: `limit` entries after the one named by `after` (keyset paging: stable while rows come and go).
import type { Context } from 'koa'
import { HttpError, safeName } from '#src/http/http-error.ts'

export type Page = { after: string | undefined; limit: number }

const defaultLimit = 50
const maxLimit = 200

/** @throws HttpError 400 for a parameter that is unknown, repeated or out of range: a misspelt filter must not return everything. */
export function readPage(ctx: Context, { usual = defaultLimit, most = maxLimit, longest = 1000 } = {}): Page {
  const query = readQuery(ctx, ['after', 'limit'])
  const limit = query.limit ?? String(usual)
  if (!/^[1-9]\d{0,3}$/.test(limit) || Number(limit) > most)
    throw badQuery(`limit must be a whole number from 1 to ${most}.`)
  if (
    query.after !== undefined &&
    (query.after === '' || query.after.length > longest || !/^[\x21-\x7e]+$/.test(query.after))
  )
    throw badQuery('after must be the value of next in the page before.')
  return { after: query.after, limit: Number(limit) }
}

export function readQuery<Name extends string>(ctx: Context, allowed: readonly Name[]): { [K in Name]?: string } {
  const query: { [K in Name]?: string } = {}
  for (const [name, value] of Object.entries(ctx.query)) {
    if (!(allowed as readonly string[]).includes(name))
      throw badQuery(
        `The parameter ${safeName(name)} is not known here. ${allowed.length > 0 ? `Known: ${allowed.join(', ')}.` : 'There is none.'}`,
      )
    if (typeof value !== 'string') throw badQuery(`The parameter ${safeName(name)} is repeated: send it once.`)
    query[name as Name] = value
  }
  return query
}

/** @param records up to one more than asked for: that one tells that there is another page. */
export function pageOf<Row, Shown>(
  records: readonly Row[],
  { limit }: Page,
  show: (record: Row) => Shown,
  key: (record: Row) => string,
): { data: Shown[]; next: string | null } {
  const shown = records.slice(0, limit)
  const last = shown.at(-1)
  return { data: shown.map(show), next: records.length > limit && last ? key(last) : null }
}

export const badQuery = (description: string): HttpError =>
  new HttpError({ status: 400, error: 'invalid_request', description })
