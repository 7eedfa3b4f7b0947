// Where a token comes from, and ending what was issued. A value is sent in a form, never in an address: addresses end up in logs
// (RFC 9700 4.3.2); from then on its row is known by an id that opens nothing.

import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { findTokenId, listGrants } from '#src/tokens/lineage.ts'
import { rowIdText, TokenNotFound } from '#src/tokens/row-ids.ts'
import { findUser, findUserByEmail, isUserId } from '#src/users/users.ts'
import { textOf } from '../lists.ts'
import { type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'

export type TokensPage = {
  /** An address or an id. */
  person: string
  found:
    | {
        href: string
        name: string
        ending: string
        grants: readonly {
          href: string
          clientId: string
          scopes: readonly string[]
          state: string
          live: boolean
          since: Moment
          address: string | null
        }[]
      }
    | undefined
  unknown: 'token' | 'person' | undefined
}

const page = template<TokensPage>('admin/console/tokens')

export function tokensPage({ database, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/tokens',
    section: 'tokens',
    scope: 'tokens:read',
    show: (request) => show(request, undefined, 200),
    async submit(request, form) {
      try {
        const id = await findTokenId(database, form.get('token')?.trim() ?? '')
        goOn(request.ctx, `/admin/tokens/families/${rowIdText(id)}`)
      } catch (error) {
        if (!(error instanceof TokenNotFound)) throw error
        await show(request, 'token', 422)
      }
    },
  }

  async function show(request: ConsoleRequest, unknown: TokensPage['unknown'], status: number): Promise<void> {
    const { ctx, words, now, person: reader } = request
    const asked = textOf(ctx, 'person')
    const user =
      asked &&
      (isUserId(asked) ? await findUser(database.prisma, asked) : await findUserByEmail(database.prisma, asked))
    const grants = user ? await listGrants(database, user.id) : []
    render(
      request,
      page,
      {
        person: asked,
        found: user
          ? {
              href: `/admin/people/${user.id}`,
              name: user.name ?? user.email,
              ending: `/admin/tokens/revoke?kind=user&id=${user.id}`,
              grants: grants.map((grant) => ({
                href: `/admin/tokens/grants/${encodeURIComponent(grant.id)}`,
                clientId: grant.clientId,
                scopes: [...grant.scopes, ...Object.values(grant.resourceScopes).flat()],
                state: grant.state.replaceAll('_', ' '),
                live: grant.state === 'live',
                since: moment(words, grant.createdAt, now, reader.zoneinfo),
                address: grant.origin?.address ?? null,
              })),
            }
          : undefined,
        unknown: unknown ?? (asked && !user ? 'person' : undefined),
      },
      { section: 'tokens', status },
    )
  }
}
