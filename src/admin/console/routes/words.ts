// What a route asks for, in words.
import type { RouteRecord } from '#src/apis/routes.ts'
import type { MessageKey, Translator } from '#src/http/i18n.ts'
import { duration } from '../applications/durations.ts'

export const routesPath = '/admin/routes'
export const hrefOf = ({ id }: Pick<RouteRecord, 'id'>): string => `${routesPath}/${id}`

/** `words`, and the names that belong to it: all of them, or any one. */
export type Ask = { words: string; names: readonly string[]; any: boolean }

/** A level of sign-in, with its word where it is one of ours (factors/assurance.ts). */
export const levels = [
  ['urn:sallyport:acr:1fa', 'console.routes.level1'],
  ['urn:sallyport:acr:2fa', 'console.routes.level2'],
  ['phr', 'console.routes.level3'],
] as const satisfies readonly (readonly [string, MessageKey])[]

export function asksOf(words: Translator, route: RouteRecord): Ask[] {
  const { t } = words
  const { anonymous, scopes, roles, relation, acrValues, maxAge } = route
  const said = (text: string, names: readonly string[] = [], any = false): Ask => ({ words: text, names, any })
  if (anonymous) return [said(t('console.routes.askNothing'))]
  const level = (value: string) => {
    const known = levels.find(([acr]) => acr === value)
    return known ? t(known[1]) : value
  }
  const either = new Intl.ListFormat(words.locale, { type: 'disjunction' })
  const asks = [
    ...(scopes.length > 0 ? [said(t('console.routes.askScopes'), scopes)] : []),
    ...(roles.length > 0 ? [said(t('console.routes.askRoles'), roles, true)] : []),
    ...(relation === null ? [] : [said(relationIn(words, relation))]),
    ...(acrValues.length > 0
      ? [said(t('console.routes.askLevels', { levels: either.format(acrValues.map(level)) }))]
      : []),
    ...(maxAge === null ? [] : [said(t('console.routes.askAge', { time: duration(words, maxAge) }))]),
  ]
  return asks.length > 0 ? asks : [said(t('console.routes.askKnown'))]
}

/** `owner@order:{id}` */
function relationIn({ t }: Translator, text: string): string {
  const [relation = '', type = '', parameter = ''] = text.split(/[@:]/)
  return t('console.routes.askRelation', { relation, type, parameter })
}
