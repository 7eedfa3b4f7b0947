// Sign-ins by the hour of a day, or by the day of two weeks: the table that the chart is drawn from.
import { countSignIns } from '#src/audit/sign-ins.ts'
import { formatDay, moment } from '#src/http/moments.ts'
import type { SignInTable } from './overview.ts'
import type { ConsoleRequest, PageDeps } from './page.ts'

const ranges = {
  day: { steps: 24, seconds: 3600 },
  weeks: { steps: 14, seconds: 86_400 },
} as const

export async function readSignIns(
  { database }: PageDeps,
  { words, now, person }: ConsoleRequest,
  range: keyof typeof ranges,
): Promise<SignInTable> {
  const { steps, seconds } = ranges[range]
  const length = seconds * 1000
  // Whole hours and whole days (UTC); the last one is still going on.
  const until = new Date((Math.floor(now.getTime() / length) + 1) * length)
  const found = await countSignIns(database, { until, steps, seconds, now })
  const number = new Intl.NumberFormat(words.locale)
  const sum = (of: 'succeeded' | 'failed') => number.format(found.reduce((all, step) => all + step[of], 0))
  return {
    ranges: [
      choice('day', words.t('console.overview.day'), range),
      choice('weeks', words.t('console.overview.weeks'), range),
    ],
    rows: found.map(({ from, ...counts }) => {
      const at = moment(words, from, now, person.zoneinfo)
      return { at, label: range === 'day' ? at.full : formatDay(words, from, 'UTC'), ...counts }
    }),
    succeeded: sum('succeeded'),
    failed: sum('failed'),
    estimated: found.some(({ estimated }) => estimated),
  }
}

const choice = (value: string, label: string, chosen: string) => ({
  value,
  label,
  selected: value === chosen,
  href: `/admin?range=${value}`,
})
