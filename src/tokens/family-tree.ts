// What was issued for what, as a tree to draw. A refresh token stands beside the one it replaced, not below it: otherwise a month of use
// would run off the screen.
import type { FamilyToken } from './lineage.ts'

export type FamilyNode = { token: FamilyToken; children: readonly FamilyNode[] }

export function treeOf(tokens: readonly FamilyToken[]): FamilyNode[] {
  const known = new Map(tokens.map((token) => [token.id, token]))
  /** What a token is drawn under: the first ancestor that is not its own earlier generation. */
  const stands = (token: FamilyToken): string | null => {
    let parent = token.parent === null ? undefined : known.get(token.parent)
    while (token.generation !== null && parent?.generation != null)
      parent = parent.parent === null ? undefined : known.get(parent.parent)
    return parent?.id ?? null
  }
  const under = Map.groupBy(tokens, stands)
  const nodes = (parent: string | null): FamilyNode[] =>
    (under.get(parent) ?? []).map((token) => ({ token, children: nodes(token.id) }))
  return nodes(null)
}
