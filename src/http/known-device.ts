// Browsers in which a person has signed in. Such a browser has its own budget of guesses (factors/guessing.ts), so whoever guesses at
// an account from elsewhere does not lock out its owner. It proves nothing else: it opens no session and replaces no factor.
//
// One cookie for all people of the browser, the latest first. An entry is a random id, the day it was given, and a MAC over both
// and the person: nothing is stored here, and an entry is worth nothing for anybody else's account.
import { randomBytes } from 'node:crypto'
import type { Context } from 'koa'
import type { Config } from '#src/config.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { cookieAttributes, cookieNames } from './cookies.ts'

export type KnownDevices = Readonly<{
  /** @param person the key of an email address (users/users.ts), known here or not.
   *  @returns the id of this browser, when the person has signed in with it. */
  find(ctx: Context, person: string): Buffer | undefined
  /** After a sign-in that is complete. */
  remember(ctx: Context, person: string): void
}>

const validDays = 180
/** A shared browser remembers so many people. */
const peopleAtMost = 5
const dayMs = 86_400_000
const entryForm = /^([A-Za-z0-9_-]{22})\.(\d{1,6})\.([A-Za-z0-9_-]{43})$/

export function createKnownDevices(deps: {
  config: Pick<Config, 'https'>
  secretKeys: Pick<SecretKeys, 'mac' | 'isMac'>
  now: () => Date
}): KnownDevices {
  const { config, secretKeys, now } = deps
  const name = cookieNames(config).device
  const purpose = 'known-device'
  const today = () => Math.floor(now().getTime() / dayMs)

  const entriesOf = (ctx: Context): string[] =>
    (ctx.cookies.get(name, { signed: false }) ?? '').split('~', peopleAtMost).filter((entry) => entryForm.test(entry))

  const idIn = (entry: string, person: string): string | undefined => {
    const [, id = '', day = '', mac = ''] = entryForm.exec(entry) ?? []
    const age = today() - Number(day)
    return secretKeys.isMac(mac, purpose, id, day, person) && age >= 0 && age < validDays ? id : undefined
  }

  return {
    find(ctx, person) {
      for (const entry of entriesOf(ctx)) {
        const id = idIn(entry, person)
        if (id !== undefined) return Buffer.from(id, 'base64url')
      }
      return undefined
    },

    remember(ctx, person) {
      const entries = entriesOf(ctx)
      const former = entries.find((entry) => idIn(entry, person) !== undefined)
      // The same id again: signing in once more is no new budget.
      const id = (former && idIn(former, person)) ?? randomBytes(16).toString('base64url')
      const day = String(today())
      const entry = `${id}.${day}.${secretKeys.mac(purpose, id, day, person).toString('base64url')}`
      const others = entries.filter((other) => other !== former)
      ctx.cookies.set(name, [entry, ...others].slice(0, peopleAtMost).join('~'), {
        ...cookieAttributes(config),
        maxAge: validDays * dayMs,
      })
    },
  }
}
