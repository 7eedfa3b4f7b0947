// What is signed about the chain, and checking it with published keys. A signature says: at this moment the place had this hash. Since each hash
// covers everything before it, the newest statement vouches for all.
import { createLocalJWKSet, errors, type JWK, compactVerify as verifyJws } from 'jose'
import type { Place } from './chain.ts'

/** Written by the sealer. `start`: what leads to the first row that was kept; nothing was removed while it is position 0. */
export type Checkpoint = { iss: string; iat: number; position: number; hash: string; start: Place }
/** At the end of an export: from `start` to `position` without a gap. */
export type ExportStatement = Checkpoint & { rows: number }

export const checkpointType = 'audit-checkpoint+jwt'
export const exportType = 'audit-export+jwt'

/** Signs with the key of the installation: a compact JWS of that `typ`, and the key to check it with. */
export type Sign = (type: string, payload: object) => Promise<{ statement: string; publicJwk: JWK }>

/** unknown_key: signed with a key that is not among these; older keys leave once nothing valid names them. */
export type Checked = { payload: ExportStatement; signature: 'good' | 'bad' | 'unknown_key' }

/** @returns undefined for what is no statement of that type at all. */
export async function checkStatement(
  statement: string,
  type: string,
  keys: readonly JWK[],
): Promise<Checked | undefined> {
  const payload = readPayload(statement, type)
  if (!payload) return undefined
  try {
    await verifyJws(statement, createLocalJWKSet({ keys: [...keys] }), { algorithms: ['ES256', 'EdDSA', 'RS256'] })
    return { payload, signature: 'good' }
  } catch (error) {
    if (error instanceof errors.JWKSNoMatchingKey) return { payload, signature: 'unknown_key' }
    if (error instanceof errors.JOSEError) return { payload, signature: 'bad' }
    throw error
  }
}

function readPayload(statement: string, type: string): ExportStatement | undefined {
  const [header, payload] = statement.split('.').map((part) => parse(Buffer.from(part, 'base64url').toString()))
  if (header?.typ !== type || !payload || !isPlace(payload.start) || !isPlace(payload)) return undefined
  return payload as unknown as ExportStatement
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** @returns whether it looks like one; what it says is for others to judge. */
export function isPlace(value: unknown): value is Place {
  const { position, hash } = (value ?? {}) as { position?: unknown; hash?: unknown }
  return Number.isSafeInteger(position) && typeof hash === 'string' && /^[0-9a-f]{64}$/.test(hash)
}
