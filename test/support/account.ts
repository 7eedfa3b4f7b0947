// People at their account pages: a server with its furniture, and the way in.

import type { AccountDeps, AccountPage } from '#src/account/page.ts'
import { accountPages } from '#src/account/router.ts'
import { hashPassword } from '#src/factors/password.ts'
import { createUser } from '#src/users/users.ts'
import { change, password } from './installation.ts'
import { type Journey, startJourney } from './journey.ts'
import { type Page, Person } from './person.ts'
import { startServer, type TestServer } from './server.ts'

/** The table of pages, for what is asked of each. Nothing of it can be shown. */
export const accountTable: readonly AccountPage[] = accountPages({ config: {}, database: {} } as AccountDeps)

export type AccountHome = Awaited<ReturnType<typeof startAccount>>

export async function startAccount(options: Parameters<typeof startServer>[0] = {}) {
  const server: TestServer = await startServer(options)
  const j: Journey = await startJourney(server)
  const bob = await createUser(
    server.database.prisma,
    { email: 'bob@example.com', name: 'Bob Builder', emailVerified: true, passwordHash: await hashPassword(password) },
    change(),
  )

  /** Opens an account page and signs in on the way, as Alice unless told otherwise. */
  async function enter(path = '/account', options: { as?: string; person?: Person } = {}) {
    const { as = 'alice@example.com', person = new Person(server.url) } = options
    const page = await signIn(person, await person.open(path), as)
    return { person, page }
  }

  async function signIn(person: Person, page: Page, as = 'alice@example.com'): Promise<Page> {
    return page.url.includes('/login') ? person.submit(page, { identifier: as, password }) : page
  }

  const sessionsOf = (userId: string) =>
    server.database.prisma.session.findMany({ where: { userId, endedAt: null }, orderBy: { createdAt: 'asc' } })

  return { ...j, server, bob, enter, signIn, sessionsOf, stop: () => server.stop() }
}

/** As if the last sign-in of this person were some seconds longer ago. */
export async function age({ server }: AccountHome, userId: string, seconds: number): Promise<void> {
  await server.database.pool.query(
    `UPDATE session SET login_at = login_at - make_interval(secs => $2) WHERE user_id = $1`,
    [userId, seconds],
  )
}

/** As if their second factors were added in the sessions that there are: those have not proven them, and need not. */
export async function addedSince({ server }: AccountHome): Promise<void> {
  await server.database.pool.query(`UPDATE credential SET created_at = now() WHERE kind <> 'password'`)
}

export const tokenOf = (page: Page): string => /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
export const headingOf = (page: Page): string =>
  (/<h1[^>]*>(.*?)<\/h1>/s.exec(page.text)?.[1] ?? '').replace(/<[^>]*>/g, '').trim()
