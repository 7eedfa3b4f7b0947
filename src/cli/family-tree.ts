// A family of tokens for a terminal: one line for each, what was issued for what drawn as a tree, and why it is over.
import { type FamilyNode, treeOf } from '#src/tokens/family-tree.ts'
import type { Family, FamilyToken } from '#src/tokens/lineage.ts'
import { table } from './table.ts'

/** @returns a table whose first column is the tree. Times are UTC. */
export function drawFamily({ asked, session, grant, tokens, more }: Family): string {
  const rows: string[][] = []
  if (session)
    rows.push([
      'session',
      session.uid,
      inWords(session.state),
      time(session.beganAt),
      time(session.expiresAt),
      about(
        session.userId && `user ${session.userId}`,
        session.loginAt && `signed in ${time(session.loginAt)}`,
        session.endedAt && `ended ${time(session.endedAt)}`,
        ...from(session.origin),
      ),
    ])
  if (grant)
    rows.push([
      session ? '└ grant' : 'grant',
      grant.id,
      inWords(grant.state),
      time(grant.createdAt),
      time(grant.expiresAt),
      about(
        grant.clientId,
        [...grant.scopes, ...Object.values(grant.resourceScopes).flat()].join(' '),
        grant.revokedAt && `revoked ${time(grant.revokedAt)}`,
        ...from(grant.origin),
      ),
    ])
  for (const { token, prefix } of branches(tokens, { below: grant !== null, indent: session && grant ? '  ' : '' }))
    rows.push([
      prefix + nameOf(token),
      token.id,
      inWords(token.state),
      time(token.issuedAt),
      time(token.expiresAt),
      about(
        token.id === asked && '<- asked about',
        token.consumedAt &&
          `used ${time(token.consumedAt)}${token.consumedAddress ? ` from ${token.consumedAddress}` : ''}`,
        token.repeats > 0 && `repeated ${token.repeats === 1 ? 'once' : `${token.repeats} times`}`,
        token.revokedAt && `revoked ${time(token.revokedAt)}`,
        !grant && token.clientId,
        token.resource && `for ${token.resource}`,
        token.scopes.join(' '),
      ),
    ])
  const drawn = table(['what', 'id', 'state', 'issued', 'expires', 'about'], rows, '')
  return more ? `${drawn}\nThe family is larger: these are its newest tokens.` : drawn
}

function branches(
  tokens: readonly FamilyToken[],
  { below, indent }: { below: boolean; indent: string },
): { token: FamilyToken; prefix: string }[] {
  const drawn: { token: FamilyToken; prefix: string }[] = []
  const draw = (nodes: readonly FamilyNode[], before: string, top: boolean): void => {
    for (const [index, { token, children }] of nodes.entries()) {
      const last = index === nodes.length - 1
      drawn.push({ token, prefix: top ? '' : `${before}${last ? '└ ' : '├ '}` })
      draw(children, top ? '' : `${before}${last ? '  ' : '│ '}`, false)
    }
  }
  draw(treeOf(tokens), indent, !below)
  return drawn
}

function nameOf({ kind, format, generation }: FamilyToken): string {
  if (kind === 'authorization_code') return 'code'
  if (kind === 'access_token') return `access token (${format})`
  return `${inWords(kind)}${generation === null ? '' : ` ${generation}`}`
}

const inWords = (name: string): string => name.replaceAll('_', ' ')

const time = (moment: Date | null): string => (moment ? moment.toISOString().slice(0, 19).replace('T', ' ') : '-')

function from(origin: { address: string | null; userAgent: string | null } | null): (string | null)[] {
  return origin ? [origin.address && `from ${origin.address}`, origin.userAgent] : []
}

const about = (...parts: (string | null | false)[]): string => parts.filter(Boolean).join(', ')
