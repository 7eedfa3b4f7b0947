// POST /api/v1/leaked-keys: whoever finds an API key where it should not be (a scanner of repositories, a stranger) ends it, and its owner is told.
// It asks for no credential, which is why it stands here and not in the table of the admin API: the value itself is one. Who holds it could
// have used it, so it ends that key and nothing else, and the answer is the same for every text. How long it takes is not hidden: it
// tells whoever has 256 right bits that they were right, a moment after they ceased to be of use.
import Router from '@koa/router'
import type { Context } from 'koa'
import { z } from 'zod'
import { reportApiKey } from '#src/access/api-keys/api-keys.ts'
import type { Database } from '#src/db/database.ts'
import { tooMany } from '#src/http/challenges.ts'
import { readJson } from '#src/http/json-body.ts'
import type { RateLimits } from '#src/http/rate-limits.ts'
import { requestOf } from '#src/http/request-context.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { queueNotice } from '#src/mail/notices.ts'
import { findUser } from '#src/users/users.ts'
import { readQuery } from './api/page.ts'
import { problemDetails } from './api/problem-details.ts'

type LeakedKeysDeps = { database: Database; secretKeys: SecretKeys; rateLimits: RateLimits; now: () => Date }

export function createLeakedKeysRouter(deps: LeakedKeysDeps): Router {
  const { database, secretKeys, rateLimits } = deps
  const router = new Router()
  router.post('/api/v1/leaked-keys', problemDetails(), async (ctx) => {
    const wait = rateLimits.waitOf(ctx)
    if (wait > 0) {
      rateLimits.refused(ctx, 'unidentified')
      throw tooMany(wait, 'Too many requests without a credential came from this address. Come back later.')
    }
    rateLimits.failed(ctx) // counted like whatever an address does without saying who it is
    readQuery(ctx, z.strictObject({}))
    const { key, found_at: foundAt } = await readJson(ctx, report)
    await end(ctx, key, foundAt)
    ctx.status = 202
    ctx.set('Cache-Control', 'no-store')
    ctx.body = { received: true }
  })
  return router

  async function end(ctx: Context, value: string, foundAt: string | undefined): Promise<void> {
    const now = deps.now()
    const { requestId } = requestOf(ctx)
    const origin = { address: ctx.ip, userAgent: ctx.get('User-Agent') || undefined, requestId }
    // The host alone is kept: the rest of an address may be as secret as the key.
    const host = foundAt === undefined ? undefined : new URL(foundAt).host
    await database.prisma.$transaction(async (tx) => {
      const found = await reportApiKey(tx, value, { now, actor: { kind: 'system', id: 'leaked-keys' }, origin }, host)
      const person = found?.userId ? await findUser(tx, found.userId) : null
      if (person) await queueNotice(tx, 'apiKeyReported', person, origin, { secretKeys, now })
    })
  }
}

const report = z.strictObject({
  key: z.string().max(1000),
  /** Where it was found. */
  found_at: z
    .url({ protocol: /^https?$/ })
    .max(2000)
    .optional(),
})
