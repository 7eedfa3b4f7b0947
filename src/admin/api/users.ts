// /api/v1/users: people, what they can sign in with, where they are signed in, and which applications they let in.
import { z } from 'zod'
import { type Bounds, refuseBeyondPerson, refuseBeyondRoles } from '#src/admin/bounds.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { accountKeys, liftGuessLimits, listGuessLimits } from '#src/factors/guessing.ts'
import { hashPassword } from '#src/factors/password.ts'
import { checkPassword } from '#src/factors/password-rules.ts'
import { findStanding, listFactors, resetFactors } from '#src/factors/second-factors.ts'
import { impersonationIn } from '#src/impersonation/mark.ts'
import { queueNotice } from '#src/mail/notices.ts'
import { listApplications } from '#src/tokens/applications.ts'
import { revoke } from '#src/tokens/revoke.ts'
import { endOtherSessions, endOwnSession, listSessions } from '#src/tokens/sessions.ts'
import { patchUser } from '#src/users/editing.ts'
import { searchUsers } from '#src/users/search.ts'
import {
  createUser,
  deleteUser,
  describeUser,
  findUser,
  InvalidUser,
  isUserId,
  setPassword,
  UserNotFound,
  type UserRecord,
} from '#src/users/users.ts'
import { listOf, pageOf, readAfter } from './page.ts'
import { type AdminApiDeps, type AdminRoute, deleted, instant, route, yesOrNo } from './route.ts'

export function userRoutes({ doors, secretKeys, config }: AdminApiDeps): AdminRoute[] {
  return [
    route('get /users', {
      scope: 'users:read',
      name: 'listUsers',
      summary: 'List people',
      query: pageOf({
        q: z.string().min(1).max(320).optional().meta({ description: 'The beginning of an address or a name.' }),
        role: z.string().optional().meta({ description: 'A role that they hold.' }),
        disabled: yesOrNo.optional(),
      }),
      answer: listOf(user),
      async handle({ db, query: { after, limit, ...filter } }) {
        const { users, next } = await searchUsers(db, filter, { after: readAfter(after), limit })
        return { data: users.map(describeUser), next }
      },
    }),

    route('post /users', {
      scope: 'users:write',
      name: 'createUser',
      summary: 'Create a person',
      body: creation,
      answer: user,
      status: 201,
      once: true,
      async handle({ db, body: { password, ...input }, caller, change }) {
        await refuseBeyondRoles({ doors, caller }, db, input.roles ?? [])
        const passwordHash =
          password === undefined ? undefined : await hashChecked(password, [input.email, input.name ?? ''])
        return describeUser(await createUser(db, { ...input, passwordHash }, change))
      },
    }),

    route('get /users/:id', {
      scope: 'users:read',
      name: 'readUser',
      summary: 'Read a person',
      answer: user,
      versioned: true,
      handle: async ({ db, id }) => describeUser(await find(db, id)),
    }),

    route('patch /users/:id', {
      scope: 'users:write',
      name: 'changeUser',
      summary: 'Change a person, their roles and their address, or switch them off',
      body: z.strictObject({ email: text.optional(), ...about, disabled: z.boolean().optional() }),
      answer: user,
      versioned: true,
      async handle({ db, id, body, caller, change, seen }) {
        const before = await find(db, id)
        await refuseBeyondPerson({ doors, caller }, db, id)
        await refuseBeyondRoles({ doors, caller }, db, body.roles ?? [])
        return atomically(db, async (tx) => {
          const after = await patchUser(tx, id, body, change, seen)
          // To the address that was: whoever takes an account over cannot keep its owner from hearing.
          if (after.emailKey !== before.emailKey)
            await queueNotice(tx, 'emailChanged', before, change.origin ?? {}, { secretKeys, now: change.now })
          return describeUser(after)
        })
      },
    }),

    route('put /users/:id/password', {
      scope: 'users:write',
      name: 'setPassword',
      summary: "Set a person's password; their sessions and tokens end",
      body: z.strictObject({ password: text }),
      answer: z.strictObject({ id: text, passwordSet: z.boolean() }),
      async handle({ db, id, body, caller, change }) {
        const person = await findWithin({ doors, caller }, db, id)
        await setPassword(db, id, await hashChecked(body.password, [person.email, person.name ?? '']), change)
        return { id, passwordSet: true }
      },
    }),

    route('delete /users/:id', {
      scope: 'users:write',
      name: 'deleteUser',
      summary: 'Delete a person with their factors, sessions, agreements and keys',
      answer: deleted,
      async handle({ db, id, caller, change }) {
        await findWithin({ doors, caller }, db, id)
        await deleteUser(db, id, change)
        return { id, deleted: true }
      },
    }),

    route('get /users/:id/sessions', {
      scope: 'users:read',
      name: 'listUserSessions',
      summary: 'List where a person is signed in',
      answer: z.strictObject({ data: z.array(session) }),
      async handle({ db, id, change }) {
        await find(db, id)
        const whose = { userId: id, idleSeconds: config.sessionIdleTtlSeconds, now: change.now }
        const open = await listSessions(db, whose)
        return { data: open.map(({ acr, ...rest }) => ({ ...rest, impersonation: impersonationIn(acr) ?? null })) }
      },
    }),

    route('delete /users/:id/sessions', {
      scope: 'users:write',
      name: 'endUserSessions',
      summary: 'Sign a person out everywhere',
      answer: z.strictObject({ ended: z.number() }),
      async handle({ db, id, caller, change }) {
        await findWithin({ doors, caller }, db, id)
        return { ended: await endOtherSessions(db, { userId: id, uid: '' }, change) }
      },
    }),

    route('delete /users/:id/sessions/:sessionUid', {
      scope: 'users:write',
      name: 'endUserSession',
      summary: 'End one session of a person',
      answer: deleted,
      async handle({ ctx, db, id, caller, change }) {
        await findWithin({ doors, caller }, db, id)
        const uid = ctx.params.sessionUid
        await endOwnSession(db, { userId: id, uid }, change)
        return { id: uid, deleted: true }
      },
    }),

    route('get /users/:id/applications', {
      scope: 'users:read',
      name: 'listUserApplications',
      summary: 'List the applications that a person let in',
      answer: z.strictObject({ data: z.array(application) }),
      async handle({ db, id, change }) {
        await find(db, id)
        return { data: await listApplications(db, id, change.now) }
      },
    }),

    route('delete /users/:id/applications/:clientId', {
      scope: 'users:write',
      name: 'withdrawUserConsent',
      summary: 'Withdraw what a person agreed to; its tokens end',
      answer: deleted,
      async handle({ ctx, db, id, caller, change }) {
        await findWithin({ doors, caller }, db, id)
        const { clientId } = ctx.params
        await revoke(db, { kind: 'consent', userId: id, clientId }, change)
        return { id: clientId, deleted: true }
      },
    }),

    // What failed guesses closed for strangers and devices (docs/decisions/020).
    route('get /users/:id/guess-limits', {
      scope: 'users:read',
      name: 'listGuessLimits',
      summary: 'List what wrong guesses at a person have closed',
      answer: z.strictObject({ data: z.array(guessLimit) }),
      async handle({ db, id, change }) {
        const { emailKey } = await find(db, id)
        return { data: await listGuessLimits(db, accountKeys(secretKeys, emailKey), change.now) }
      },
    }),

    route('post /users/:id/unlock', {
      scope: 'users:write',
      name: 'unlockUser',
      summary: 'Lift what wrong guesses at a person have closed',
      answer: z.strictObject({ id: text, lifted: z.number() }),
      async handle({ db, id, caller, change }) {
        const { emailKey } = await findWithin({ doors, caller }, db, id) // whoever guesses gets new tries
        const lifted = await liftGuessLimits(db, { id, accounts: accountKeys(secretKeys, emailKey) }, change)
        return { id, lifted }
      },
    }),

    route('get /users/:id/factors', {
      scope: 'users:read',
      name: 'listUserFactors',
      summary: 'List the second factors of a person',
      answer: z.strictObject({ data: z.array(factor), recoveryCodes: z.number() }),
      async handle({ db, id }) {
        const standing = await findStanding(db, id)
        if (!standing) throw new UserNotFound(id)
        const { userId, recoveryCodes } = standing
        return { data: await listFactors(db, userId), recoveryCodes }
      },
    }),

    route('delete /users/:id/factors', {
      scope: 'users:write',
      name: 'resetUserFactors',
      summary: 'Take away the second factors of somebody who lost theirs; gives nothing',
      answer: z.strictObject({ removed: z.number() }),
      async handle({ db, id, caller, change }) {
        if (!isUserId(id)) throw new UserNotFound(id)
        await refuseBeyondPerson({ doors, caller }, db, id)
        return { removed: await resetFactors(db, id, change) }
      },
    }),
  ]
}

async function find(db: Db, id: string): Promise<UserRecord> {
  const record = await findUser(db, id)
  if (!record) throw new UserNotFound(id)
  return record
}

async function findWithin(bounds: Bounds, db: Db, id: string): Promise<UserRecord> {
  const record = await find(db, id)
  await refuseBeyondPerson(bounds, db, id)
  return record
}

async function hashChecked(password: string, personal: string[]): Promise<string> {
  const flaws = checkPassword(password, personal)
  if (flaws.length > 0) throw new InvalidUser(flaws)
  return hashPassword(password)
}

const text = z.string()
const about = {
  emailVerified: z.boolean().optional(),
  name: text.nullable().optional(),
  givenName: text.nullable().optional(),
  familyName: text.nullable().optional(),
  picture: text.nullable().optional(),
  locale: text.nullable().optional(),
  zoneinfo: text.nullable().optional(),
  attributes: z
    .record(text, z.json())
    .optional()
    .meta({ description: 'Any JSON object; claims and policies read it.' }),
  roles: z.array(text).optional(),
}
const creation = z.strictObject({
  email: text,
  ...about,
  password: text
    .optional()
    .meta({ description: 'Left out: they cannot sign in by one until they recover the account.' }),
})
const user = z
  .strictObject({
    id: text,
    email: text,
    emailVerified: z.boolean(),
    name: text.nullable(),
    givenName: text.nullable(),
    familyName: text.nullable(),
    picture: text.nullable(),
    locale: text.nullable(),
    zoneinfo: text.nullable(),
    attributes: z.unknown(),
    roles: z.array(text),
    disabled: z.boolean(),
    deleteAfter: instant.optional().meta({ description: 'When the account goes, as the person asked.' }),
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'User' })
const session = z.strictObject({
  uid: text,
  beganAt: instant,
  loginAt: instant.nullable(),
  lastUsedAt: instant,
  expiresAt: instant.nullable(),
  address: text.nullable(),
  userAgent: text.nullable(),
  impersonation: text
    .nullable()
    .meta({ description: 'An administrator acts as the person in it: its id in the record.' }),
})
const application = z.strictObject({
  clientId: text,
  name: text,
  clientUri: text.nullable(),
  logo: text.nullable(),
  since: instant,
  lastUsedAt: instant.nullable(),
  scopes: z.array(text),
  resources: z.array(
    z.strictObject({
      identifier: text,
      name: text,
      scopes: z.array(z.strictObject({ name: text, description: text })),
    }),
  ),
})
const guessLimit = z.strictObject({
  factor: text,
  knownDevice: z.boolean(),
  failures: z.number(),
  lastAt: instant.nullable(),
  closedUntil: instant.nullable(),
  reached: z.boolean(),
})
const factor = z.strictObject({
  id: text,
  kind: text,
  name: text,
  ending: text,
  createdAt: instant,
  lastUsedAt: instant.nullable(),
})
