// What every arm serves: the same APIs, clients and people, so that a scenario is one text for all of them.
export const orders = 'https://api.example.com/orders' // JWT access tokens
export const stock = 'https://api.example.com/stock' // opaque access tokens
export const callback = 'https://shop.example/cb'
export const secret = 'kT0rVw5m3dJqZcQ8yXb1nHsE6uLpA2fG4iRoB7tKjM9' // for the run's own throwaway servers
export const password = 'a long enough phrase to sign in with'

/** Several, so that no single grant carries the tokens of a whole run: the engine's memory adapter walks through all tokens of
 *  a grant on every write, which would make the baseline slower than it is in anybody's use. */
export const shops = ['shop-a', 'shop-b', 'shop-c', 'shop-d'] as const
export const people = Array.from({ length: 16 }, (_, n) => `person-${n}@example.com`)

export const basic = (clientId: string) =>
  `Authorization: Basic ${Buffer.from(`${clientId}:${secret}`).toString('base64')}\r\n`

/** For SALLYPORT_CONFIG; JSON is YAML. @param options.people false: applications only, as most files of this kind. */
export function declaration(options: { people: boolean } = { people: true }): string {
  return JSON.stringify({
    apis: [
      {
        identifier: orders,
        name: 'Orders',
        introspectionClients: ['orders-api'],
        scopes: { 'orders:read': 'See orders' },
      },
      {
        identifier: stock,
        name: 'Stock',
        accessTokenFormat: 'opaque',
        introspectionClients: ['stock-api'],
        scopes: { 'stock:read': 'See stock' },
      },
    ],
    clients: [
      {
        clientId: 'reports',
        type: 'service',
        clientSecret: secret,
        apis: { [orders]: ['orders:read'], [stock]: ['stock:read'] },
      },
      { clientId: 'orders-api', type: 'service', clientSecret: secret },
      { clientId: 'stock-api', type: 'service', clientSecret: secret },
      ...shops.map((clientId) => ({
        clientId,
        type: 'web',
        clientSecret: secret,
        redirectUris: [callback],
        scopes: ['openid', 'profile', 'email'],
      })),
    ],
    ...(options.people
      ? { users: people.map((email) => ({ email, password, emailVerified: true, name: 'A Person' })) }
      : {}),
  })
}
