// How often programs may call, in this process (docs/decisions/031). Who has shown who they are is counted by name. Whoever has not is
// counted by address, and only when it failed: naming somebody else costs them nothing. Guessing at the secrets of people is not this
// file's business; those limits are strict and shared by all processes (factors/guessing.ts).
import type { Context } from 'koa'
import { addressRange } from '#src/address-range.ts'
import type { Config } from '#src/config.ts'
import { createRecent } from '#src/recent.ts'
import { requestOf } from './request-context.ts'

/** What has a budget. `unidentified`: the failures of an address. The others are endpoints. */
export type LimitName = keyof Config['rateLimits']

/** What a refusal is counted under. `api_key`: the limit that a key has of its own. */
export type RefusedBy = LimitName | 'api_key'

export type RateLimits = Readonly<{
  /** One more of an identified caller. @param at of a caller who shows nothing but a name: counted apart for each address.
   *  @returns seconds to wait, 0: go on. */
  spend(limit: LimitName, who: string, at?: Context): number
  /** One more of an API key that was found good. Each key has its own number a minute, or none. @returns seconds to wait, 0: go on. */
  spendKey(key: { id: string; requestsPerMinute: number | null }): number
  /** Before a credential is looked at. @param who what the request says it is: whoever was right from this address lately does not wait
   *  for their neighbours. @returns seconds to wait, 0: go on. */
  waitOf(ctx: Context, who?: string): number
  /** The credential was wrong, or there was none. */
  failed(ctx: Context): void
  /** The credential was right. @param who as for waitOf. */
  succeeded(ctx: Context, who: string): void
  /** Tells the operator; of each caller once a minute. @param clientId undefined: it is the address that was refused. */
  refused(ctx: Context, limit: RefusedBy, clientId?: string): void
}>

/** Told of every request that was refused. */
export type LimitObserver = (limit: RefusedBy) => void

/** For so long a caller that was right at an address is known there. */
const knownMs = 3_600_000
const logEveryMs = 60_000
/** Entries of each list. Whoever falls out begins with a full budget again; no list grows beyond. */
export const mostEntries = 10_000

export function createRateLimits(deps: {
  config: Pick<Config, 'rateLimits'>
  observe?: LimitObserver | undefined
  now: () => Date
}): RateLimits {
  const { config, observe } = deps
  const now = () => deps.now().getTime()
  const budgets = {} as Record<LimitName, ReturnType<typeof createBuckets>>
  for (const name of Object.keys(config.rateLimits) as LimitName[]) budgets[name] = createBuckets(0)
  // What is stored may change: then whoever is counted begins anew with the number that is in force.
  const perMinute = (limit: LimitName) => config.rateLimits[limit]
  const keys = createBuckets(0)
  const ranges = createRecent<string>(mostEntries)
  const known = createRecent<number>(mostEntries)
  const logged = createRecent<number>(mostEntries)
  const isWithin = (since: number | undefined, ms: number, at: number) => since !== undefined && since + ms > at

  return {
    spend: (limit, who, at) => budgets[limit].take(at ? `${who} ${rangeOf(at)}` : who, now, perMinute(limit)),

    spendKey: ({ id, requestsPerMinute }) => keys.take(id, now, requestsPerMinute ?? 0),

    waitOf(ctx, who) {
      const range = rangeOf(ctx)
      const wait = budgets.unidentified.waitOf(range, now, perMinute('unidentified'))
      if (wait === 0 || who === undefined) return wait
      return isWithin(known.get(`${who} ${range}`), knownMs, now()) ? 0 : wait
    },

    failed(ctx) {
      budgets.unidentified.take(rangeOf(ctx), now, perMinute('unidentified'))
    },

    succeeded(ctx, who) {
      const key = `${who} ${rangeOf(ctx)}`
      const at = now()
      // Most requests of a caller at work write nothing.
      if (!isWithin(known.get(key), knownMs / 10, at)) known.set(key, at)
    },

    refused(ctx, limit, clientId) {
      observe?.(limit)
      const subject = clientId === undefined ? { address: rangeOf(ctx) } : { clientId }
      const key = JSON.stringify([limit, subject])
      const at = now()
      if (isWithin(logged.get(key), logEveryMs, at)) return
      logged.set(key, at)
      requestOf(ctx).log.warn({ event: 'requests.limited', limit, ...subject })
    },
  }

  /** An address is asked about at every request, and of IPv6 its range takes a while to find. */
  function rangeOf({ ip }: Context): string {
    let range = ranges.get(ip)
    if (range === undefined) {
      range = addressRange(ip)
      ranges.set(ip, range)
    }
    return range
  }
}

type Bucket = { tokens: number; at: number; perMinute: number }

/** Token buckets: a minute's worth, full at first, filled evenly. @param usual a minute; 0: no limit. */
export function createBuckets(usual: number) {
  const buckets = createRecent<Bucket>(mostEntries)

  return {
    /** Takes one. @param perMinute where each key has a number of its own. @returns seconds until there is one to take, 0: it was taken. */
    take(key: string, now: () => number, perMinute = usual): number {
      if (perMinute === 0) return 0
      let bucket = buckets.get(key)
      if (bucket?.perMinute === perMinute) fill(bucket, now())
      else {
        bucket = { tokens: perMinute, at: now(), perMinute }
        buckets.set(key, bucket)
      }
      if (isEmpty(bucket)) return secondsUntilOne(bucket)
      bucket.tokens -= 1
      return 0
    },

    /** @returns as `take`, and takes nothing. */
    waitOf(key: string, now: () => number, perMinute = usual): number {
      const bucket = buckets.get(key)
      if (bucket?.perMinute !== perMinute) return 0
      fill(bucket, now())
      return isEmpty(bucket) ? secondsUntilOne(bucket) : 0
    },

    size: () => buckets.size,
  }

  /** A clock that was put back takes nothing away. */
  function fill(bucket: Bucket, at: number): void {
    bucket.tokens = Math.min(
      bucket.perMinute,
      bucket.tokens + (Math.max(0, at - bucket.at) * bucket.perMinute) / 60_000,
    )
    bucket.at = at
  }

  /** Fractions added up fall a little short: nobody shall wait as told and then be told to wait again. */
  function isEmpty({ tokens }: Bucket): boolean {
    return tokens < 1 - 1e-6
  }

  function secondsUntilOne({ tokens, perMinute }: Bucket): number {
    return Math.max(1, Math.ceil(((1 - tokens - 1e-6) / perMinute) * 60))
  }
}
