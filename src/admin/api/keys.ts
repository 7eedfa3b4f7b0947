// /api/v1/keys: what signs tokens. Private halves never leave the database; what is published is at /oauth/jwks.
import { z } from 'zod'
import { readSigningKeys } from '#src/admin/signing-keys.ts'
import { retireSigningKey, rotateSigningKeys } from '#src/keys/key-rotation.ts'
import { signingAlgorithms } from '#src/keys/signer.ts'
import { type AdminApiDeps, type AdminRoute, instant, route } from './route.ts'

export function keyRoutes({ database, secretKeys, config }: AdminApiDeps): AdminRoute[] {
  return [
    // A dozen at most: no pages.
    route('get /keys', {
      scope: 'keys:read',
      name: 'listSigningKeys',
      summary: 'List signing keys',
      answer: z.strictObject({ data: z.array(signingKey) }),
      handle: async ({ change: { now } }) => ({ data: await readSigningKeys({ database, config }, now) }),
    }),

    // 200 also when nothing was due: `early` says what is waited for.
    route('post /keys/rotate', {
      scope: 'keys:write',
      name: 'rotateSigningKeys',
      summary: 'Let the announced keys sign from now on',
      body: z.strictObject({ alg: alg.optional(), unannounced }),
      answer: z.strictObject({
        rotated: z.array(z.strictObject({ alg, retired: text, current: text, next: text })),
        early: z.array(z.strictObject({ alg, kid: text, from: instant })),
      }),
      handle: ({ body: { alg, unannounced }, change }) =>
        rotateSigningKeys(database, secretKeys, {
          afterSeconds: 0,
          unannounced,
          change,
          ...(alg && { algorithms: [alg] }),
        }),
    }),

    route('post /keys/:id/retire', {
      scope: 'keys:write',
      name: 'retireSigningKey',
      summary: 'Retire a signing key, or withdraw one that is announced',
      body: z.strictObject({ unannounced }),
      answer: z.strictObject({ alg, retired: text, withdrawn: z.boolean(), current: text, next: text }),
      handle: ({ id, body: { unannounced }, change }) =>
        retireSigningKey(database, secretKeys, { kid: id, unannounced, change }),
    }),
  ]
}

const text = z.string()
const alg = z.enum(signingAlgorithms)
const unannounced = z.boolean().default(false).meta({
  description: 'Also to a key that was announced within the hour, for one that leaked.',
})
const signingKey = z
  .strictObject({
    kid: text,
    alg: text,
    state: text.meta({ enum: ['current', 'next', 'retired'] }),
    createdAt: instant,
    activatedAt: instant.nullable(),
    retiredAt: instant.nullable(),
    ageSeconds: z.number(),
    nextChange: z
      .strictObject({ what: z.enum(['signs', 'retires', 'removed']), at: instant })
      .nullable()
      .meta({ description: 'What happens to it by itself, and from when on.' }),
  })
  .meta({ id: 'SigningKey' })
