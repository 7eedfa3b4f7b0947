// Acting as somebody, as it is done: the console's form, then the sign-in that follows it, page by page.
import { type Administrator, type ConsoleHome, startConsole } from './console.ts'
import { type Page, Person } from './person.ts'

export const reason = 'Their orders do not show, ticket 4711'

export async function startSupport(
  env: Record<string, string> = { IMPERSONATION: 'on', TRUST_PROXY: '127.0.0.1,::1' },
) {
  const home = await startConsole({ env })
  const support = await home.appointWith('support@example.com', 'support', {
    permissions: ['users:read', 'users:impersonate'],
  })
  return { ...home, support }
}

export type SupportHome = Awaited<ReturnType<typeof startSupport>>

/** @returns where the browser is afterwards. */
export async function become(
  home: ConsoleHome,
  as: Administrator,
  userId: string,
  options: { person?: Person; reason?: string } = {},
): Promise<{ person: Person; page: Page }> {
  const { person = new Person(home.server.url) } = options
  const path = `/admin/people/${userId}/impersonate`
  const { page: form } = await home.enter(path, { as, person })
  const page = await person.submit(form, { reason: options.reason ?? reason })
  return { person, page: await throughLogout(person, page) }
}

/** Where the sign-in ends the session of somebody else, the engine asks the browser to send a form. */
export async function throughLogout(person: Person, page: Page): Promise<Page> {
  let at = page
  for (let n = 0; n < 3 && at.text.includes('/oauth/logout/confirm"'); n++) at = await person.submit(at, {})
  return at
}
