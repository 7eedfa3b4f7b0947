// An access token for the admin API that a person let an application have, as applications get one: by signing in.
import { ownScopes } from '#src/apis/scope-names.ts'
import { updateClient } from '#src/clients/clients.ts'
import type { ClientInput } from '#src/clients/settings.ts'
import type { Administrator, ConsoleHome } from './console.ts'
import { change } from './installation.ts'
import { Person } from './person.ts'

/** The application may ask for everything. */
export async function permitTokens(home: ConsoleHome): Promise<void> {
  const settings: ClientInput = {
    ...{ type: 'web', name: 'shop-web', redirectUris: [home.callback] },
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    apis: { [`${home.server.url}/api`]: Object.keys(ownScopes) },
  }
  await updateClient(home.server.database.prisma, 'shop-web', settings, change())
  await home.server.settle()
}

/** @param person the browser it happens in. @param parameters of the authorization request. @returns the header. */
export async function tokenOf(
  home: ConsoleHome,
  as: Administrator,
  scopes: readonly string[],
  { person = new Person(home.server.url), ...parameters }: { person?: Person } & Record<string, string | Person> = {},
): Promise<{ Authorization: string }> {
  const resource = `${home.server.url}/api`
  const { address, verifier } = await home.begin({
    scope: ['openid', ...scopes].join(' '),
    resource,
    ...(parameters as Record<string, string>),
  })
  let page = await home.signIn(person, await person.open(address), as)
  if (page.url.includes('/consent')) page = await person.submit(page, { decision: 'allow', scope: [...scopes] })
  const code = new URL(page.url).searchParams.get('code') ?? ''
  const { body, status } = await home.redeem(code, verifier, { resource })
  if (status !== 200) throw new Error(`no token: ${JSON.stringify(body)} ${page.url}`)
  return { Authorization: `Bearer ${body.access_token}` }
}
