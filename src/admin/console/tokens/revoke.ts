// Ending what was issued: what would end is counted, confirmed, and counted again, which then is nothing.
import { HttpError } from '#src/http/http-error.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { template } from '#src/http/render.ts'
import { type Counts, countRevocation } from '#src/tokens/dry-run.ts'
import { findTokenId } from '#src/tokens/lineage.ts'
import { type RevocationTarget, revoke } from '#src/tokens/revoke.ts'
import { countLines } from '../counts.ts'
import type { ConsolePage, ConsoleRequest, PageDeps } from '../page.ts'

export type RevokePage = {
  kind: Kind
  id: string
  title: string
  counts: readonly { label: string; count: number }[]
  more: boolean
  /** It was done: the counts are those after it. */
  revoked: boolean
  nothing: boolean
}

const titles = {
  token: 'console.tokens.revoke.token',
  grant: 'console.tokens.revoke.grant',
  session: 'console.tokens.revoke.session',
  user: 'console.tokens.revoke.user',
  client: 'console.tokens.revoke.client',
  api: 'console.tokens.revoke.api',
  everything: 'console.tokens.revoke.everything',
} as const satisfies Record<string, MessageKey>
type Kind = keyof typeof titles

const page = template<RevokePage>('admin/console/revoke')

export function revokePage({ database, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/tokens/revoke',
    section: 'tokens',
    scope: 'tokens:read',
    writes: 'tokens:write',
    sensitive: true,
    async show(request) {
      const { kind, id } = request.ctx.query
      await show(request, readKind(kind), typeof id === 'string' ? id : '', false)
    },
    async submit(request, form) {
      const kind = readKind(form.get('kind'))
      const id = form.get('id') ?? ''
      await revoke(database.prisma, await targetOf(kind, id), request.change)
      await show(request, kind, id, true)
    },
  }

  async function show(request: ConsoleRequest, kind: Kind, id: string, revoked: boolean): Promise<void> {
    const counts = await countRevocation(database.prisma, await targetOf(kind, id))
    render(
      request,
      page,
      {
        ...{ kind, id, revoked },
        title: request.words.t(titles[kind], { id }),
        counts: countLines(request.words, counts),
        more: counts.more,
        nothing: isNothing(counts),
      },
      { section: 'tokens' },
    )
  }

  async function targetOf(kind: Kind, id: string): Promise<RevocationTarget> {
    if (kind === 'token') return { kind, id: await findTokenId(database, id) }
    if (kind === 'session') return { kind, uid: id }
    if (kind === 'api') return { kind, identifier: id }
    if (kind === 'everything') return { kind: 'before', moment: 'now' }
    return { kind, id }
  }
}

/** @throws HttpError 400 */
function readKind(value: unknown): Kind {
  if (typeof value === 'string' && Object.hasOwn(titles, value)) return value as Kind
  throw new HttpError({
    status: 400,
    error: 'invalid_request',
    description: `The parameter kind must be one of ${Object.keys(titles).join(', ')}.`,
  })
}

const isNothing = ({ more, ...counts }: Counts): boolean => !more && Object.values(counts).every((count) => count === 0)
