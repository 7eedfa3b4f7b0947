// The token of a page: where the one before ended, how long it was, and which question it belongs to. With another question it is refused, because
// its answer would be half of one and half of the other (AuthZEN 8.2).
import { hash } from 'node:crypto'
import { z } from 'zod'
import { HttpError } from '#src/http/http-error.ts'
import type { RequestedPage } from './question.ts'

const usualLimit = 100
/** Whoever asks for more gets so many, and a token (8.2.1: a maximum). */
const highestLimit = 1_000

export type PlacedPage = Readonly<{
  limit: number
  /** Of the candidates; undefined: from the start. */
  after: string | undefined
  /** @returns the token of the page that begins there. */
  tokenOf(after: string | undefined): string
}>

const content = z.tuple([z.string(), z.int().min(0).max(highestLimit), z.string().nullable()])

/** @param question whatever the answer depends on. @throws HttpError 400 for a token that is of no page, or of another question's. */
export function placePage(page: RequestedPage, question: unknown): PlacedPage {
  const belongs = hash('sha256', canonical(question), 'base64url').slice(0, 22)
  const asked = page?.limit === undefined ? undefined : Math.min(page.limit, highestLimit)
  const token = page?.token || page?.next_token
  const before = token ? readToken(token) : undefined
  if (before && before.belongs !== belongs) throw badToken('belongs to another question')
  if (before && asked !== undefined && asked !== before.limit) throw badToken('belongs to pages of another limit')
  const limit = before?.limit ?? asked ?? usualLimit
  return {
    limit,
    after: before?.after,
    tokenOf: (after) => Buffer.from(JSON.stringify([belongs, limit, after ?? null])).toString('base64url'),
  }
}

function readToken(token: string): { belongs: string; limit: number; after: string | undefined } {
  try {
    const [belongs, limit, after] = content.parse(JSON.parse(Buffer.from(token, 'base64url').toString()))
    return { belongs, limit, after: after ?? undefined }
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) throw badToken('is of no page')
    throw error
  }
}

/** 10.1.1: members have no order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}

function badToken(problem: string): HttpError {
  return new HttpError({
    status: 400,
    error: 'invalid_request',
    description: `page.token ${problem}. Send what the page before answered, with the same question, or nothing.`,
  })
}
