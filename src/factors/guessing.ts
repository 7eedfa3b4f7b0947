// Limits on guessing, for every factor alike (docs/decisions/020). A try is counted as a failure before it is evaluated, at all of its
// limits or at none, in one statement of the database: of any number of parallel guesses, over any number of processes, no more are
// evaluated than the limit allows. Who succeeds takes the try back.
//
//   reserveGuess -> refused: say when to come back, evaluate nothing
//                -> allowed: evaluate -> right: succeed() | not evaluated after all: release() | wrong: nothing, it is counted
//
// No limit closes for ever, and a person's own device does not stand in the queue of strangers: somebody who guesses at an account
// can lock out other strangers, never its owner. What is limited for an unknown address is limited as for a known one.

import { addressRange } from '#src/address-range.ts'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database, Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'

/** Every factor counts under its own name. */
export const guessFactors = [
  'password',
  'totp',
  'recovery_code',
  'email_code',
  'passkey',
  'push',
  'sms_code',
  'sign_up_code',
  'reset_code',
  'user_code',
  'setup_code',
] as const
export type GuessFactor = (typeof guessFactors)[number]

export type Guess = Readonly<{
  factor: GuessFactor
  /** Of accountKey(). None where no account is meant, and the value is too long to be guessed: then the address alone counts. */
  account?: Buffer | undefined
  /** As http/host.ts pinned it. */
  address: string | undefined
  /** Of http/known-device.ts, for this very account: counted on its own. */
  device?: Buffer | undefined
  now: Date
}>

/** A limit that this try closes, should it fail. Recorded once, by the try that does it; those who are refused record nothing. */
export type ClosingLimit = Readonly<{ limit: 'account' | 'device' | 'address' | 'everyone'; seconds: number }>

export type Reservation =
  | Readonly<{
      allowed: true
      closes: readonly ClosingLimit[]
      /** It was right: the failures of this factor are forgotten. */
      succeed(): Promise<void>
      /** It was not evaluated. */
      release(): Promise<void>
    }>
  | Readonly<{ allowed: false; retryAfterSeconds: number }>

type Rule = {
  /** So many failures close nothing. Null: never closes. */
  free: number | null
  /** The same while there is an alarm. */
  tight: number | null
  /** Seconds after that, doubled with each further failure, at most `longest`. Null: until the window of `kept` seconds ends. */
  first: number | null
  longest: number | null
  /** Seconds that failures below the limit are remembered; beyond it, thirty days. */
  kept: number
}

const minute = 60
const hour = 60 * minute
const day = 24 * hour

/** NIST SP 800-63B-4 3.2.2, ASVS 6.3.1. No fifteen minutes see more than five guesses of strangers at one factor of an account; the
 *  hundredth in a row comes after two weeks, and from then on it is one a day. */
const rules = {
  /** One factor of one account. */
  factor: { free: 5, tight: 5, first: 15 * minute, longest: 4 * hour, kept: day },
  /** All factors of one account: whoever turns from one to the next does not begin anew each time. */
  all: { free: 20, tight: 20, first: 15 * minute, longest: 4 * hour, kept: day },
  /** The same from a device its owner signed in on: most likely the owner, and in any case the only one there. */
  deviceFactor: { free: 10, tight: 10, first: minute, longest: hour, kept: day },
  deviceAll: { free: 30, tight: 30, first: minute, longest: hour, kept: day },
  /** A house, an office, a mobile network: failures only, and a window that ends. */
  address: { free: 100, tight: 20, first: null, longest: null, kept: 15 * minute },
  /** Closes for nobody, or one attacker could lock everybody out. What it does is to raise the alarm. */
  everyone: { free: null, tight: null, first: null, longest: null, kept: 15 * minute },
} satisfies Record<string, Rule>

/** Failures of everybody together in a window. */
const alarm = 2_000

const nobody = Buffer.alloc(0)
const observers = new WeakMap<Database['pool'], (factor: GuessFactor) => void>()

/** @param observer told of every try that was refused. */
export function observeGuesses(pool: Database['pool'], observer: (factor: GuessFactor) => void): void {
  observers.set(pool, observer)
}

/** @param emailKey of users/users.ts; of people who do not exist as well. People type their password into the wrong field: what is
 *  stored must tell nothing to those who read it, so it is keyed. */
export function accountKey(secretKeys: Pick<SecretKeys, 'mac'>, emailKey: string): Buffer {
  return secretKeys.mac('guess-account', emailKey)
}

/** A statement of its own, never part of somebody's transaction: it must count whatever becomes of the request.
 *  @throws the database's error; then nothing may be evaluated. */
export async function reserveGuess(database: Pick<Database, 'pool'>, guess: Guess): Promise<Reservation> {
  const { pool } = database
  const limits = limitsOf(guess)
  const { rows } = await pool.query<{ closed_until: Date | null; counts: number[]; open_ats: (Date | null)[] }>({
    name: 'reserve_guess',
    text: 'SELECT * FROM reserve_guess($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)',
    values: [
      guess.now,
      ...identify(limits),
      ...(['free', 'tight', 'first', 'longest', 'kept'] as const).map((name) => limits.map(({ rule }) => rule[name])),
      alarm,
    ],
  })
  const [answer] = rows
  if (!answer) throw new Error('reserve_guess gave no answer')
  const seconds = (until: Date) => Math.ceil((until.getTime() - guess.now.getTime()) / 1000)
  if (answer.closed_until !== null) {
    observers.get(pool)?.(guess.factor)
    return { allowed: false, retryAfterSeconds: Math.max(1, seconds(answer.closed_until)) }
  }
  const { counts, open_ats: openAts } = answer
  const giveBack = async (succeeded: boolean): Promise<void> => {
    await pool.query({
      name: 'return_guess',
      text: 'SELECT return_guess($1, $2, $3, $4, $5, $6)',
      values: [...identify(limits), limits.map(({ rule }) => rule.free), counts, succeeded],
    })
  }
  return {
    allowed: true,
    closes: limits.flatMap(({ name }, index) => {
      const wait = seconds(openAts[index] ?? guess.now)
      const alarming = name === 'everyone' && counts[index] === alarm
      return wait > 0 || alarming ? [{ limit: name, seconds: wait }] : []
    }),
    succeed: () => giveBack(guess.account !== undefined),
    release: () => giveBack(false),
  }
}

type Limit = { name: ClosingLimit['limit']; subject: Buffer; device: Buffer; factor: string; rule: Rule }

/** In the order in which rows are locked: what few share comes first, what everybody shares last and so for the shortest time. */
function limitsOf({ factor, account, address, device }: Guess): Limit[] {
  const known = account !== undefined && device !== undefined
  const name = known ? 'device' : 'account'
  const own = account ? ({ name, subject: account, device: known ? device : nobody } as const) : undefined
  return [
    ...(own
      ? [
          { ...own, factor, rule: known ? rules.deviceFactor : rules.factor },
          { ...own, factor: 'all', rule: known ? rules.deviceAll : rules.all },
        ]
      : []),
    // From where a known device calls does not matter: its neighbours may be the ones who guess.
    ...(known
      ? []
      : ([
          {
            name: 'address',
            subject: Buffer.from(addressRange(address)),
            device: nobody,
            factor: 'address',
            rule: rules.address,
          },
          { name: 'everyone', subject: nobody, device: nobody, factor: 'everyone', rule: rules.everyone },
        ] as const)),
  ]
}

function identify(limits: readonly Limit[]): [Buffer[], Buffer[], string[]] {
  return [limits.map(({ subject }) => subject), limits.map(({ device }) => device), limits.map(({ factor }) => factor)]
}

/** What counts against an account now, the newest first. */
export type GuessLimitState = {
  /** A factor, or `all` of them together. */
  factor: string
  /** Tried from a device that the person had signed in on. */
  knownDevice: boolean
  failures: number
  lastAt: Date
  /** Null: open. */
  closedUntil: Date | null
  /** There were so many that it closed, now or before; otherwise it is what happens to everybody. */
  reached: boolean
}

/** @param accounts the keys of one person: under each SECRET_KEY (accountKeys). */
export async function listGuessLimits(db: Db, accounts: readonly Buffer[], now: Date): Promise<GuessLimitState[]> {
  const rows = await db.guessLimit.findMany({
    where: { subject: { in: accounts.map((key) => new Uint8Array(key)) }, failures: { gt: 0 }, expiresAt: { gt: now } },
    orderBy: [{ failedAt: 'desc' }, { factor: 'asc' }],
  })
  return rows.map(({ factor, device, failures, failedAt, openAt }) => ({
    factor,
    knownDevice: device.length > 0,
    failures,
    lastAt: failedAt,
    closedUntil: openAt && openAt > now ? openAt : null,
    reached: openAt !== null,
  }))
}

/** The account under every key of SECRET_KEY, for those who look or lift. */
export function accountKeys(secretKeys: Pick<SecretKeys, 'macs'>, emailKey: string): Buffer[] {
  return secretKeys.macs('guess-account', emailKey)
}

/** By the person or an administrator: everything that counts against the account is forgotten, on every device.
 *  @returns how many limits there were. */
export function liftGuessLimits(
  db: Db,
  user: { id: string; accounts: readonly Buffer[] },
  change: Change,
): Promise<number> {
  const subjects = user.accounts.map((key) => new Uint8Array(key))
  return atomically(db, async (tx) => {
    // Somebody may be guessing at this very moment. Rows are locked in the order of reserve_guess, and only those are deleted: one that
    // came meanwhile would be waited for out of order, and its try was not meant.
    const count = await tx.$executeRaw`WITH locked AS (
        SELECT subject, device, factor FROM guess_limit WHERE subject = ANY(${subjects})
        ORDER BY subject, device, factor = 'all', factor FOR UPDATE)
      DELETE FROM guess_limit g USING locked l WHERE (g.subject, g.device, g.factor) = (l.subject, l.device, l.factor)`
    if (count > 0)
      await recordAudit(
        tx,
        {
          event: 'user.unlocked',
          outcome: 'success',
          actor: change.actor,
          target: { kind: 'user', id: user.id },
          detail: { limits: count },
        },
        change.origin,
      )
    return count
  })
}
