// How people name a token: by its value, or by the id of its row, which opens nothing and may be printed and logged. The id of a JWT's
// row is its `jti` (16 bytes), that of everything else the SHA-256 of its value (32 bytes); both are written as base64url.
import { createHash } from 'node:crypto'
import { Refusal } from '#src/refusal.ts'
import { idOfJti, isJwtId } from './jwt-id.ts'

/** Never says what was asked for: it may be the value of a token. */
export class TokenNotFound extends Refusal {
  constructor() {
    super('missing', [
      {
        field: 'token',
        problem: 'is not one that was issued here, or its row has left since it expired',
        fix: 'Send its whole value, or the id of its row.',
      },
    ])
  }
}

export const rowIdText = (id: Uint8Array): string => Buffer.from(id).toString('base64url')

/** @returns undefined for text that is no row id, other spellings of the same bytes included. */
export function parseRowId(text: string): Buffer | undefined {
  const id = Buffer.from(text, 'base64url')
  return (id.length === 32 || isJwtId(id)) && rowIdText(id) === text ? id : undefined
}

/** The signature of a JWT is not looked at: whoever may ask here may name any row by its id, and learns nothing more by forging one. */
export function rowIdOfValue(value: string): Buffer {
  return jwtId(value) ?? createHash('sha256').update(value).digest()
}

/** The rows that a text can mean: the token whose value it is, the row whose id it is. */
export function candidateRowIds(text: string): Buffer[] {
  const named = parseRowId(text)
  return named ? [rowIdOfValue(text), named] : [rowIdOfValue(text)]
}

function jwtId(value: string): Buffer | undefined {
  const [, payload, signature] = /^[\w-]+\.([\w-]+)\.([\w-]+)$/.exec(value) ?? []
  if (payload === undefined || signature === undefined) return undefined
  try {
    const { jti } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { jti?: unknown }
    return idOfJti(jti)
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined // not a JWT after all
    throw error
  }
}
