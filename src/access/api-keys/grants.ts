// What hangs from a person's key besides itself: the grants under which clients got tokens for it (oauth/grants/api-key.ts). One for each key and
// client, so that revoking the key is what revoking always is: a generation is raised, and the feed names the grant (docs/decisions/005, 011).
import { hash } from 'node:crypto'
import type { Database, Prisma } from '#src/db/database.ts'

/** Makes sure of the grant, which lasts as long as the key, and that the key stands while it does so. @returns undefined for a key that has been revoked meanwhile, and
 *  when the person took the client's access away. `ownerGeneration`: what the key, and so its token, was made under. */
export function holdApiKeyGrant(
  { prisma }: Pick<Database, 'prisma'>,
  ask: { keyId: string; clientId: string; api: string; scopes: readonly string[] },
  now: Date,
): Promise<{ id: string; ownerGeneration: number } | undefined> {
  const { keyId, clientId, api, scopes } = ask
  const id = `ak_${keyId}_${hash('sha256', clientId, 'base64url')}`
  return prisma.$transaction(async (tx) => {
    // A revocation either waits for this lock, and then sees the grant, or was first, and is seen here.
    const [key] = await tx.$queryRaw<{ userId: string; ownerGeneration: number; expiresAt: Date }[]>`
      SELECT user_id AS "userId", owner_generation AS "ownerGeneration",
        (SELECT max(expires_at) FROM api_key_value v WHERE v.key_id = k.id) AS "expiresAt"
      FROM api_key k WHERE id = ${keyId}::uuid AND revoked_at IS NULL AND user_id IS NOT NULL FOR SHARE`
    if (!key) return undefined
    const count = await tx.$executeRaw`
      INSERT INTO oauth_grant AS g (id, user_id, client_id, scopes, rejected_scopes, resource_scopes, created_at, expires_at, payload)
      VALUES (${id}, ${key.userId}::uuid, ${clientId}, '{}', '{}', jsonb_build_object(${api}::text, ${JSON.stringify(scopes)}::jsonb), ${now},
        ${key.expiresAt}, json_build_object('apiKey', ${keyId}::text))
      ON CONFLICT (id) DO UPDATE SET expires_at = EXCLUDED.expires_at, resource_scopes = g.resource_scopes || EXCLUDED.resource_scopes
      WHERE g.revoked_at IS NULL`
    return count > 0 ? { id, ownerGeneration: key.ownerGeneration } : undefined
  })
}

/** In the transaction that ends the key, after its row was changed. */
export async function endApiKeyGrants(
  tx: Prisma.TransactionClient,
  { id, userId }: { id: string; userId: string | null },
  now: Date,
): Promise<void> {
  if (userId === null) return
  // Locked in the order of ids, as every commit does: two that meet never wait for each other.
  const rows = await tx.$queryRaw<{ id: string }[]>`
    SELECT id FROM oauth_grant WHERE user_id = ${userId}::uuid AND payload ->> 'apiKey' = ${id} AND revoked_at IS NULL ORDER BY id FOR UPDATE`
  await tx.grant.updateMany({
    where: { id: { in: rows.map((row) => row.id) }, revokedAt: null },
    data: { revokedAt: now, generation: { increment: 1 } },
  })
}
