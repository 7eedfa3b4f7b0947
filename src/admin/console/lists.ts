// Lists of the console: filters in the address, so that a view can be bookmarked and sent, and pages by keyset.
import type { Context } from 'koa'

export type Choice = { value: string; label: string; selected: boolean }

/** What a parameter of the address says; '' when it says nothing, twice, or too much. */
export function textOf(ctx: Context, name: string, most = 320): string {
  const value = ctx.query[name]
  return typeof value === 'string' && value.length <= most ? value.trim() : ''
}

export function oneOf<const Value extends string>(
  ctx: Context,
  name: string,
  values: readonly Value[],
): Value | undefined {
  const said = textOf(ctx, name)
  return values.find((value) => value === said)
}

/** Options of a select, the first of which stands for no filter. */
export function choices(
  pairs: readonly (readonly [value: string, label: string])[],
  chosen: string | undefined,
  any: string,
): Choice[] {
  return [
    { value: '', label: any, selected: !chosen },
    ...pairs.map(([value, label]) => ({ value, label, selected: value === chosen })),
  ]
}

/** @param found up to one more than a page holds. @returns the address of the page behind this one, with the same filters. */
export function cut<Row>(
  ctx: Context,
  found: readonly Row[],
  perPage: number,
  key: (row: Row) => string,
): { rows: readonly Row[]; next: string | undefined } {
  const rows = found.slice(0, perPage)
  const last = rows.at(-1)
  if (found.length <= perPage || last === undefined) return { rows, next: undefined }
  return { rows, next: addressOfNext(ctx, key(last)) }
}

/** With the same filters. */
export function addressOfNext(ctx: Context, after: string): string {
  const query = new URLSearchParams(ctx.querystring)
  query.delete('done')
  query.set('after', after)
  return `${ctx.path}?${query}`
}
