// Numbers of this moment, each for those who may see what it counts.
import { listSigningKeys } from '#src/keys/signing-keys.ts'
import { mostCounted, readMailFigures } from '#src/mail/records.ts'
import { countActivePeople, countTokens } from '#src/tokens/figures.ts'
import { sweepLagSeconds } from '#src/tokens/growth.ts'
import type { ShownFigure } from './overview.ts'
import { type ConsoleRequest, holds, type PageDeps } from './page.ts'

/** The sweep looks every ten seconds: after so long it is behind. */
const lateSweepSeconds = 300
const lateMailSeconds = 900

export async function readFigures(deps: PageDeps, request: ConsoleRequest): Promise<ShownFigure[]> {
  const parts = [
    ['users:read', people],
    ['tokens:read', tokens],
    ['keys:read', keys],
    ['settings:read', mails],
    ['settings:read', sweep],
    ['settings:read', latency],
  ] as const
  const read = parts.filter(([scope]) => holds(request.held, scope)).map(([, figure]) => figure(deps, request))
  return (await Promise.all(read)).filter((figure) => figure !== undefined)
}

type Read = (deps: PageDeps, request: ConsoleRequest) => Promise<ShownFigure | undefined>

const people: Read = async ({ database, config }, { words, now }) => {
  const { count, more } = await countActivePeople(database, { idleSeconds: config.sessionIdleTtlSeconds, now })
  return {
    label: words.t('console.overview.people'),
    value: amount(words.locale, count, more),
    hint: words.t('console.overview.peopleHint'),
    href: '/admin/people',
    bad: false,
  }
}

const tokens: Read = async ({ database }, { words, now }) => {
  const { access, refresh, more } = await countTokens(database, now)
  return {
    label: words.t('console.overview.tokens'),
    value: amount(words.locale, access, more),
    hint: words.t('console.overview.tokensHint', { refresh: amount(words.locale, refresh, more) }),
    href: '/admin/tokens',
    bad: false,
  }
}

const keys: Read = async ({ database, config }, { words, now }) => {
  const current = (await listSigningKeys(database)).filter(({ state }) => state === 'current')
  const oldest = Math.min(...current.map(({ activatedAt, createdAt }) => (activatedAt ?? createdAt).getTime()))
  if (current.length === 0) return undefined
  const days = Math.floor((now.getTime() - oldest) / 86_400_000)
  const { signingKeyRotationDays: every } = config
  return {
    label: words.t('console.overview.keyAge'),
    value: words.t('console.overview.days', { days }),
    hint: every > 0 ? words.t('console.overview.keyRotation', { days: every }) : words.t('console.overview.keyByHand'),
    href: '/admin/keys',
    bad: every > 0 && days > every + 1,
  }
}

const mails: Read = async ({ database }, { words, now }) => {
  const { waiting, oldestAt, givenUp } = await readMailFigures(database)
  const seconds = oldestAt ? (now.getTime() - oldestAt.getTime()) / 1000 : 0
  return {
    label: words.t('console.overview.mails'),
    value: amount(words.locale, waiting, waiting === mostCounted),
    hint: oldestAt
      ? words.t('console.overview.mailsOldest', { time: duration(words.locale, seconds) })
      : words.t('console.overview.mailsNone'),
    href: '/admin/mails',
    bad: seconds > lateMailSeconds || givenUp > 0,
  }
}

const sweep: Read = async ({ database }, { words }) => {
  const lags = await sweepLagSeconds(database)
  const worst = lags.reduce((most, lag) => (lag.seconds > most.seconds ? lag : most), { table: '', seconds: 0 })
  return {
    label: words.t('console.overview.sweep'),
    value: duration(words.locale, worst.seconds),
    hint:
      worst.seconds > lateSweepSeconds
        ? words.t('console.overview.sweepLate', { table: worst.table })
        : words.t('console.overview.sweepHint'),
    href: '/admin/settings/jobs',
    bad: worst.seconds > lateSweepSeconds,
  }
}

const latency: Read = async (deps, { words }) => {
  const known = await deps.latency?.()
  if (!known) return undefined
  const ms = (seconds: number): string =>
    Number.isFinite(seconds) ? unitOf(words.locale, seconds * 1000, 'millisecond') : '> 10 s'
  return {
    label: words.t('console.overview.latency'),
    value: ms(known.medianSeconds),
    hint: words.t('console.overview.latencyHint', { slow: ms(known.slowSeconds) }),
    href: undefined,
    bad: known.slowSeconds > 1,
  }
}

const amount = (locale: string, count: number, more: boolean): string =>
  new Intl.NumberFormat(locale).format(count) + (more ? '+' : '')

function duration(locale: string, seconds: number): string {
  if (seconds < 60) return unitOf(locale, Math.round(seconds), 'second')
  if (seconds < 3600) return unitOf(locale, Math.floor(seconds / 60), 'minute')
  if (seconds < 86_400) return unitOf(locale, Math.floor(seconds / 3600), 'hour')
  return unitOf(locale, Math.floor(seconds / 86_400), 'day')
}

const unitOf = (locale: string, value: number, unit: string): string =>
  new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay: 'short' }).format(value)
