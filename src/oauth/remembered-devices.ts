// The cookie of a browser that people asked us to remember (factors/remembered-device.ts), for the screens of the sign-in and for the policy
// that judges a session. One cookie for all people of the browser, the latest first; an entry is worth nothing for anybody else.
import type { Context } from 'koa'
import type { Change } from '#src/audit/change.ts'
import type { Config } from '#src/config.ts'
import type { Database } from '#src/db/database.ts'
import { findRememberedDevice, rememberDevice } from '#src/factors/remembered-device.ts'
import { cookieAttributes, cookieNames } from '#src/http/cookies.ts'

export type RememberedDevices = Readonly<{
  /** 0: it is not offered. It may change from one request to the next. */
  readonly days: number
  /** @returns the id of this browser, when this person asked to be remembered in it and it still counts. */
  find(ctx: Pick<Context, 'cookies'>, userId: string): Promise<string | undefined>
  /** After a sign-in that is complete, with a second factor. */
  remember(ctx: Context, userId: string, change: Change): Promise<void>
}>

/** A shared browser remembers so many people. */
const peopleAtMost = 5
const dayMs = 86_400_000

export function createRememberedDevices(deps: {
  config: Pick<Config, 'https' | 'rememberDeviceDays'>
  database: Pick<Database, 'prisma'>
  now: () => Date
}): RememberedDevices {
  const { config, database, now } = deps
  const name = cookieNames(config).remembered
  const valuesOf = (ctx: Pick<Context, 'cookies'>): string[] =>
    (ctx.cookies.get(name, { signed: false }) ?? '').split('~', peopleAtMost)

  return {
    get days() {
      return config.rememberDeviceDays
    },

    find(ctx, userId) {
      const { rememberDeviceDays: days } = config
      return findRememberedDevice(database.prisma, { userId, values: valuesOf(ctx), days, now: now() })
    },

    async remember(ctx, userId, change) {
      const { rememberDeviceDays: days } = config
      const values = await rememberDevice(database.prisma, { userId, days, values: valuesOf(ctx) }, change)
      ctx.cookies.set(name, values.slice(0, peopleAtMost).join('~'), {
        ...cookieAttributes(config),
        maxAge: days * dayMs,
      })
    },
  }
}
