// Times in the words of the person who reads them.
import type { Translator } from '#src/words.ts'

export type Moment = { iso: string; ago: string; full: string }

const steps = [
  [60, 'second', 1],
  [3600, 'minute', 60],
  [86_400, 'hour', 3600],
  [30 * 86_400, 'day', 86_400],
  [365 * 86_400, 'month', 30 * 86_400],
  [Number.POSITIVE_INFINITY, 'year', 365 * 86_400],
] as const

/** @param zone an IANA time zone; unknown or none is UTC, which then stands beside the time. */
export function moment({ locale, t }: Translator, at: Date, now: Date, zone: string | null): Moment {
  const seconds = Math.max(0, (now.getTime() - at.getTime()) / 1000)
  const [, unit, size] = steps.find(([below]) => seconds < below) ?? steps[5]
  const ago =
    unit === 'second'
      ? t('account.justNow')
      : new Intl.RelativeTimeFormat(locale, { numeric: 'always' }).format(-Math.floor(seconds / size), unit)
  return { iso: at.toISOString(), ago, full: formatTime(locale, at, zone) }
}

function formatTime(locale: string, at: Date, zone: string | null): string {
  return new Intl.DateTimeFormat(locale, {
    year: 'numeric',
    month: 'short',
    day: 'numeric',
    hour: 'numeric',
    minute: '2-digit',
    timeZoneName: 'short',
    timeZone: zone && timeZones().includes(zone) ? zone : 'UTC',
  }).format(at)
}

export function formatDay({ locale }: Translator, at: Date, zone: string | null): string {
  const timeZone = zone && timeZones().includes(zone) ? zone : 'UTC'
  return new Intl.DateTimeFormat(locale, { dateStyle: 'long', timeZone }).format(at)
}

let zones: readonly string[] | undefined

export function timeZones(): readonly string[] {
  zones ??= ['UTC', ...Intl.supportedValuesOf('timeZone').filter((name) => name !== 'UTC')]
  return zones
}
