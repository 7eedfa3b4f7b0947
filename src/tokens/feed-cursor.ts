// The place of a reader in the feed, as text. Readers take it as it is; whatever else they send must not reach the database.

/** As PostgreSQL writes snapshots: `xmin:xmax:xip,xip,…`. */
type Snapshot = string

export type Cursor = {
  seen: Snapshot
  /** Inside a walk through several pages: when the walk began, and the last row it has shown. */
  until?: Snapshot
  transaction?: string
  id?: string
}

export class UnknownCursor extends Error {
  override name = 'UnknownCursor'
}

export const nothingSeen: Snapshot = '1:1:'

/** `<seen>` or `<seen>~<until>~<transaction>.<id>`. Numbers are in base 36, those of a snapshot counted from its first: few
 *  characters for each open transaction, of which there can be hundreds. */
export function formatCursor({ seen, until, transaction, id }: Cursor): string {
  if (until === undefined || transaction === undefined || id === undefined) return pack(seen)
  return `${pack(seen)}~${pack(until)}~${base36(BigInt(transaction))}.${base36(BigInt(id))}`
}

/** @throws UnknownCursor */
export function parseCursor(text: string): Cursor {
  const parts = text.split('~')
  const [seen = '', until, place] = parts
  if (until === undefined) return { seen: unpack(seen) }
  const [transaction, id, ...rest] = numbers(place ?? '')
  if (parts.length !== 3 || transaction === undefined || id === undefined || rest.length > 0) throw unknown()
  return { seen: unpack(seen), until: unpack(until), transaction: String(transaction), id: String(id) }
}

function pack(snapshot: Snapshot): string {
  const [xmin = '', xmax = '', open = ''] = snapshot.split(':')
  const first = BigInt(xmin)
  const others = [xmax, ...open.split(',').filter(Boolean)].map((number) => base36(BigInt(number) - first))
  return [base36(first), ...others].join('.')
}

/** PostgreSQL takes only snapshots that can have been: in order, and within their bounds. */
function unpack(text: string): Snapshot {
  const [xmin, reach, ...open] = numbers(text)
  if (xmin === undefined || reach === undefined) throw unknown()
  if (![xmin, xmin + reach].every(isTransaction)) throw unknown()
  if (open.some((number, index) => number >= reach || number <= (open[index - 1] ?? -1n))) throw unknown()
  return `${xmin}:${xmin + reach}:${open.map((number) => xmin + number).join(',')}`
}

function numbers(text: string): bigint[] {
  return text.split('.').map((part) => {
    if (!/^[0-9a-z]{1,13}$/.test(part)) throw unknown()
    const number = [...part].reduce((sum, digit) => sum * 36n + BigInt(Number.parseInt(digit, 36)), 0n)
    if (number > largest) throw unknown()
    return number
  })
}

const largest = 2n ** 63n - 1n
/** The lower half of a number is what PostgreSQL has in a row; 0 there means none. */
const isTransaction = (number: bigint): boolean => number <= largest && number % 2n ** 32n !== 0n
const base36 = (number: bigint): string => number.toString(36)
const unknown = (): UnknownCursor => new UnknownCursor('not a cursor of this feed')
