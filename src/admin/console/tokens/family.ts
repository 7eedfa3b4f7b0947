// The family of a token, drawn as a tree: session, grant, code, each refresh generation, access tokens; any of them can be ended.
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { type FamilyNode, treeOf } from '#src/tokens/family-tree.ts'
import { type Family, type FamilyToken, findFamilyById, findFamilyOfGrant } from '#src/tokens/lineage.ts'
import type { ConsolePage, ConsoleRequest, PageDeps } from '../page.ts'

export type Node = {
  what: string
  id: string
  state: string
  live: boolean
  asked: boolean
  at: Moment
  until: Moment | undefined
  about: readonly string[]
  /** Where it can be ended. */
  ending: string | undefined
  children: readonly Node[]
}
export type FamilyPage = {
  root: Node | undefined
  more: boolean
  client: string | undefined
  person: string | undefined
}

const page = template<FamilyPage>('admin/console/family')

export function familyPages({ database, render }: PageDeps): ConsolePage[] {
  const show = (request: ConsoleRequest, family: Family) =>
    render(request, page, describe(request, family), { section: 'tokens' })
  return [
    {
      path: '/admin/tokens/families/:id',
      section: 'tokens',
      scope: 'tokens:read',
      show: async (request) => show(request, await findFamilyById(database, String(request.ctx.params.id))),
    },
    {
      path: '/admin/tokens/grants/:id',
      section: 'tokens',
      scope: 'tokens:read',
      show: async (request) => show(request, await findFamilyOfGrant(database, String(request.ctx.params.id))),
    },
  ]
}

function describe(request: ConsoleRequest, { asked, session, grant, tokens, more }: Family): FamilyPage {
  const { words, now, person } = request
  const { t } = words
  const at = (time: Date): Moment => moment(words, time, now, person.zoneinfo)
  const rest = (state: string) => ({ state: state.replaceAll('_', ' '), live: state === 'live', asked: false })
  const endable = (state: string, kind: string, id: string) =>
    state === 'live' ? `/admin/tokens/revoke?${new URLSearchParams({ kind, id })}` : undefined

  const nodeOf = ({ token, children }: FamilyNode): Node => ({
    what: nameOf(token),
    id: token.id,
    ...rest(token.state),
    asked: token.id === asked,
    at: at(token.issuedAt),
    until: token.expiresAt ? at(token.expiresAt) : undefined,
    about: [
      token.consumedAt &&
        t('console.tokens.used', { when: at(token.consumedAt).full }) +
          (token.consumedAddress ? ` · ${token.consumedAddress}` : ''),
      token.repeats > 0 && t('console.tokens.repeated', { count: token.repeats }),
      token.resource,
      token.scopes.join(' '),
    ].filter((part): part is string => Boolean(part)),
    ending: endable(token.state, 'token', token.id),
    children: children.map(nodeOf),
  })
  let nodes = treeOf(tokens).map(nodeOf)
  if (grant)
    nodes = [
      {
        what: t('console.tokens.grant'),
        id: grant.id,
        ...rest(grant.state),
        at: at(grant.createdAt),
        until: grant.expiresAt ? at(grant.expiresAt) : undefined,
        about: [
          grant.clientId,
          [...grant.scopes, ...Object.values(grant.resourceScopes).flat()].join(' '),
          ...originOf(grant.origin),
        ],
        ending: endable(grant.state, 'grant', grant.id),
        children: nodes,
      },
    ]
  if (session)
    nodes = [
      {
        what: t('console.tokens.session'),
        id: session.uid,
        ...rest(session.state),
        at: at(session.loginAt ?? session.beganAt),
        until: session.expiresAt ? at(session.expiresAt) : undefined,
        about: originOf(session.origin),
        ending: endable(session.state, 'session', session.uid),
        children: nodes,
      },
    ]
  return {
    root: nodes[0],
    more,
    client: grant?.clientId ?? tokens[0]?.clientId ?? undefined,
    person: grant?.userId ?? session?.userId ?? undefined,
  }
}

const originOf = (origin: { address: string | null; userAgent: string | null } | null): string[] =>
  [origin?.address, origin?.userAgent].filter((part): part is string => Boolean(part))

/** The names of the RFCs, which are the same in every language. */
function nameOf({ kind, format, generation }: FamilyToken): string {
  const name = kind.replaceAll('_', ' ')
  if (kind === 'access_token') return `${name} (${format})`
  return generation === null ? name : `${name} ${generation}`
}
