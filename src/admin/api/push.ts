// /api/v1/users/:id/push-devices and /api/v1/push-approvals: for the backend of the operator's app (docs/factors-webhook.md). A scope of
// its own: that backend has no business with who people are.
import { z } from 'zod'
import { refuseBeyondPerson } from '#src/admin/bounds.ts'
import { addPushDevice, answerPush } from '#src/factors/push.ts'
import { isUserId, UserNotFound } from '#src/users/users.ts'
import { type AdminApiDeps, type AdminRoute, route } from './route.ts'

export function pushRoutes({ database, doors, secretKeys }: AdminApiDeps): AdminRoute[] {
  return [
    route('post /users/:id/push-devices', {
      scope: 'push:write',
      name: 'addPushDevice',
      summary: 'Register a device for approval on a phone',
      body: z.strictObject({ reference: z.string(), name: z.string().default('App') }),
      answer: z.strictObject({ id: z.string() }),
      status: 201,
      once: true,
      async handle({ db, id, body, caller, change }) {
        if (!isUserId(id)) throw new UserNotFound(id)
        // Whoever gives a person a factor can sign in with it, given their password.
        await refuseBeyondPerson({ doors, caller }, db, id)
        return { id: await addPushDevice(db, secretKeys, { userId: id, ...body }, change) }
      },
    }),

    route('post /push-approvals/:id', {
      scope: 'push:write',
      name: 'answerPush',
      summary: 'Hand on what a person answered on their phone',
      body: answered,
      answer: z.strictObject({ id: z.string(), outcome: z.string() }),
      handle: async ({ id, body, change }) => ({
        id,
        outcome: await answerPush(database, secretKeys, { id, answer: body }, change),
      }),
    }),
  ]
}

const number = z.number().int().min(0).max(99)
const answered = z.discriminatedUnion('approved', [
  z.strictObject({ approved: z.literal(true), number }),
  z.strictObject({ approved: z.literal(false), number: number.optional() }),
])
