// Rows for a terminal: columns padded, two spaces between them, nothing a terminal would act on.

/** @param empty what to say when there is no row. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[], empty: string): string {
  if (rows.length === 0) return empty
  const cells = [heads.map((head) => head.toUpperCase()), ...rows].map((row) => row.map(printable))
  const widths = heads.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Names and values below each other, for one thing. */
export function details(fields: Record<string, unknown>): string {
  const width = Math.max(...Object.keys(fields).map((name) => name.length))
  return Object.entries(fields)
    .flatMap(([name, value]) =>
      lines(value).map((line, index) => `${(index === 0 ? name : '').padEnd(width)}  ${printable(line)}`.trimEnd()),
    )
    .join('\n')
}

/** Control characters and direction overrides in a stored name must not rewrite the operator's screen. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu, '?')
}

function lines(value: unknown): string[] {
  if (value === null || value === undefined) return ['-']
  if (value instanceof Date) return [value.toISOString()]
  if (Array.isArray(value)) return value.length === 0 ? ['-'] : value.flatMap(lines)
  if (typeof value === 'object') {
    const entries = Object.entries(value)
    if (entries.length === 0) return ['-']
    return entries.map(([name, inner]) => `${name}: ${lines(inner).join(' ')}`)
  }
  return [String(value)]
}
