// Scopes in the words of the person who reads them.
import type { MessageKey, Translator } from '#src/http/i18n.ts'

const known = {
  openid: 'scope.openid',
  profile: 'scope.profile',
  email: 'scope.email',
  address: 'scope.address',
  phone: 'scope.phone',
  offline_access: 'scope.offline_access',
} as const satisfies Record<string, MessageKey>

export function openidScope({ t }: Translator, name: string): string {
  return Object.hasOwn(known, name) ? t(known[name as keyof typeof known]) : name
}
