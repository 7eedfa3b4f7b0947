// The signing keys as administrators see them, with what happens to each by itself under the settings of this server.
import type { Config } from '#src/config.ts'
import type { Database } from '#src/db/database.ts'
import { describeSigningKeys, type ShownSigningKey } from '#src/keys/signing-key-list.ts'
import { listSigningKeys } from '#src/keys/signing-keys.ts'
import { signedIsOfUseSeconds } from '#src/tokens/feed.ts'

export async function readSigningKeys(
  { database, config }: { database: Database; config: Pick<Config, 'signingKeyRotationDays' | 'sessionTtlSeconds'> },
  now: Date,
): Promise<ShownSigningKey[]> {
  const rules = {
    rotationDays: config.signingKeyRotationDays,
    keptSeconds: signedIsOfUseSeconds(config.sessionTtlSeconds),
  }
  return describeSigningKeys(await listSigningKeys(database), rules, now)
}
