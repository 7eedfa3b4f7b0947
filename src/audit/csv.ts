// Rows for a spreadsheet (RFC 4180). A spreadsheet computes what begins like a formula, and names and user agents come from strangers: such a cell gets an
// apostrophe in front, which makes it text.
import type { EventRow } from './chain.ts'

const columns = [
  'id',
  'at',
  'event',
  'outcome',
  'actorKind',
  'actorId',
  'targetKind',
  'targetId',
  'clientId',
  'address',
  'userAgent',
  'requestId',
  'decisionId',
  'detail',
] as const satisfies readonly (keyof EventRow)[]

export const csvHead = `${['position', 'hash', ...columns].join(',')}\r\n`

export function csvLine(position: number, hash: string, row: EventRow): string {
  return `${[String(position), hash, ...columns.map((column) => text(row[column]))].map(cell).join(',')}\r\n`
}

function text(value: EventRow[keyof EventRow]): string {
  if (value === null || value === undefined) return ''
  if (value instanceof Date) return value.toISOString()
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function cell(value: string): string {
  // Also behind white space, and in full width, as some spreadsheets read it.
  const safe = /^[\s\0]*[=+\-@\uff1d\uff0b\uff0d\uff20]/.test(value) || /^[\t\r\n]/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
