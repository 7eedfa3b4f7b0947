// Statements of this server that are no tokens, signed by the key that signs tokens: whoever has the published keys can check them. Their
// `typ` says what they are (RFC 8725 3.11), so none can be taken for a token.
import type { JWK } from 'jose'
import type { Database } from '#src/db/database.ts'
import type { SecretKeys } from './secret-key.ts'
import { loadSigningKeys, type SigningKey, SigningKeysMissing } from './signing-keys.ts'

export type SignStatement = (type: string, payload: object) => Promise<{ statement: string; publicJwk: JWK }>

const alg = 'ES256'

/** @returns a function that signs with the key that is current at that moment: a compact JWS.
 *  It throws SigningKeysUnreadable, and SigningKeysMissing before the first start. */
export function createStatementSigner(database: Pick<Database, 'pool'>, secretKeys: SecretKeys): SignStatement {
  return async (type, payload) => {
    const keys = await loadSigningKeys(database, secretKeys)
    const key = keys.find((one) => one.alg === alg && one.state === 'current')
    if (!key) throw new SigningKeysMissing()
    const input = [{ alg, kid: key.kid, typ: type }, payload].map(encoded).join('.')
    const signature = await key.signer.sign(Buffer.from(input)) // RFC 7515 5.1
    return { statement: `${input}.${Buffer.from(signature).toString('base64url')}`, publicJwk: publicJwk(key) }
  }
}

/** The keys that statements of this database may be signed with, as far as they are still kept. Their private halves opened under SECRET_KEY,
 *  so nobody who has only the database can have put one there. @throws SigningKeysUnreadable */
export async function statementKeys(database: Pick<Database, 'pool'>, secretKeys: SecretKeys): Promise<JWK[]> {
  return (await loadSigningKeys(database, secretKeys)).map(publicJwk)
}

const encoded = (part: object): string => Buffer.from(JSON.stringify(part)).toString('base64url')

function publicJwk({ kid, alg, signer }: SigningKey): JWK {
  return { ...(signer.publicKey.export({ format: 'jwk' }) as JWK), kid, alg, use: 'sig' }
}
