// What a row found: figures to publish, and violations, of which there must be none.
export type Report = { figures: Record<string, number | string>; violations: string[] }

/** Keeps the first of many: they tend to be the same one. */
export function createFindings() {
  const violations: string[] = []
  let count = 0
  return {
    note(what: string): void {
      count++
      if (violations.length < 20) violations.push(what)
    },
    /** Notes it unless it holds. @returns whether it holds */
    expect(holds: boolean, what: string): boolean {
      if (!holds) this.note(what)
      return holds
    },
    report(figures: Report['figures']): Report {
      return { figures, violations: count > violations.length ? [...violations, `… ${count} in all`] : violations }
    },
  }
}

export type Findings = ReturnType<typeof createFindings>

/** The value below which the given part of all lies; milliseconds are rounded to a tenth. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0
  return Math.round(value * 10) / 10
}

/** Runs `work` for 0 to count-1, so many at once. */
export async function inParallel(count: number, atOnce: number, work: (n: number) => Promise<void>): Promise<void> {
  let next = 0
  const lane = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, lane))
}

export function times<T>(count: number, make: (n: number) => T): T[] {
  return Array.from({ length: count }, (_, n) => make(n))
}
