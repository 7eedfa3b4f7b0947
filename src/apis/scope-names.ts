// Names of scopes. They are also what roles permit (access/roles.ts), so a name must mean one thing.
import { type Flaw, quote } from '#src/refusal.ts'

/** OIDC Core 5.4 and 11: these are about the person, whatever API is called. Every other scope belongs to an API. */
export const openidScopes = ['openid', 'profile', 'email', 'address', 'phone', 'offline_access'] as const

/** Sallyport's own API, `<issuer>/api`. */
export const ownScopes: Readonly<Record<string, string>> = {
  'access:evaluate': 'Ask whether somebody may do something',
  'apis:read': 'See APIs and their scopes',
  'apis:write': 'Create, change and delete APIs',
  'audit:read': 'Read the audit record',
  'audit:write': 'Manage exports of the audit record',
  'checkup:read': 'See what the checkup says of the installation',
  'checkup:write': 'Record backups for the checkup',
  'clients:read': 'See applications',
  'clients:write': 'Create, change and delete applications and their secrets',
  'keys:read': 'See signing keys and API keys',
  'keys:write': 'Rotate signing keys, create and revoke API keys',
  'policies:read': 'See the policies of APIs, and try drafts',
  'policies:write': 'Create, change, enforce and delete policies of APIs',
  'push:write': 'Register devices for approval on a phone, and hand on what people answered',
  'relations:read': 'See who stands how to which object',
  'relations:write': 'Write and delete relations between objects and people',
  'revocations:read': 'Follow what was revoked',
  'reviews:read': 'See access reviews',
  'reviews:write': 'Begin access reviews, and approve or revoke their lines',
  'roles:read': 'See roles and who holds them',
  'roles:write': 'Create, change and delete roles',
  'routes:read': 'See gateway routes, and ask which one answers a request',
  'routes:write': 'Create, change, order and delete gateway routes',
  'settings:read': 'See settings',
  'settings:write': 'Change settings',
  'tokens:read': 'See grants and tokens',
  'tokens:write': 'Revoke grants and tokens',
  'users:impersonate': 'Act as a person for a while, where the server permits it',
  'users:read': 'See people',
  'users:write': 'Create, change, disable and delete people',
  'webhooks:read': 'See webhooks and what was delivered to them',
  'webhooks:write': 'Create, change and delete webhooks, and send events again',
}

/** RFC 6749 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ). Kept to 128 characters. */
export const isScopeToken = (name: string): boolean => /^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/.test(name)

export function checkScopeName(field: string, name: string): Flaw[] {
  if (!isScopeToken(name))
    return [
      {
        field,
        problem: `(${quote(name)}) cannot be a scope`,
        fix: 'Use 1 to 128 visible ASCII characters without quotation marks and backslashes (RFC 6749 3.3).',
      },
    ]
  if ((openidScopes as readonly string[]).includes(name))
    return [{ field, problem: `is the OpenID scope ${name}`, fix: 'Choose a name of your own, such as orders:read.' }]
  // A role that permits "users:read" of a shop must not open this server's own list of people.
  if (Object.hasOwn(ownScopes, name))
    return [
      {
        field,
        problem: `is ${name}, which is a scope of Sallyport's own API`,
        fix: `Choose another name, such as shop.${name}: roles permit scopes by name.`,
      },
    ]
  return []
}
