// Administrators at the console: a server with its furniture, people with roles and a second factor, and the way in.
import { createRole, ownerRole, type RoleInput } from '#src/access/roles.ts'
import type { ConsolePage, PageDeps } from '#src/admin/console/page.ts'
import { consolePages } from '#src/admin/console/router.ts'
import { ensureOwnApi, ensureOwnerRole } from '#src/bootstrap/own-api.ts'
import { hashPassword } from '#src/factors/password.ts'
import { createUser } from '#src/users/users.ts'
import { codeAt, giveTotp } from './factors.ts'
import { change, password } from './installation.ts'
import { type Journey, startJourney } from './journey.ts'
import { type Page, Person } from './person.ts'
import { startServer, type TestServer } from './server.ts'

/** The table of pages, for what is asked of each. Nothing of it can be shown. */
export const consoleTable: readonly ConsolePage[] = consolePages({ config: {}, database: {} } as PageDeps)

export type ConsoleHome = Awaited<ReturnType<typeof startConsole>>
export type Administrator = { id: string; email: string; seed: string }

export async function startConsole(options: Parameters<typeof startServer>[0] = {}) {
  const server: TestServer = await startServer(options)
  const j: Journey = await startJourney(server)
  await ensureOwnApi(server.database, `${server.url}/api`, change())
  await ensureOwnerRole(server.database, change())
  await server.settle()
  const hash = await hashPassword(password)

  /** Somebody with a password and an app that shows codes. */
  async function appoint(email: string, name: string, roles: readonly string[]): Promise<Administrator> {
    const { prisma } = server.database
    const { id } = await createUser(
      prisma,
      { email, name, emailVerified: true, passwordHash: hash, roles: [...roles] },
      change(),
    )
    return { id, email, seed: await giveTotp(server, id) }
  }

  const appointWith = async (email: string, role: string, input: RoleInput) => {
    await createRole(server.database.prisma, role, input, change())
    return appoint(email, role, [role])
  }

  const owner = await appoint('owner@example.com', 'Olive Owner', [ownerRole])

  /** Opens a page and proves both factors on the way. */
  async function enter(path = '/admin', options: { as?: Administrator; person?: Person } = {}) {
    const { as = owner, person = new Person(server.url) } = options
    const page = await signIn(person, await person.open(path), as)
    return { person, page }
  }

  async function signIn(person: Person, opened: Page, as: Administrator = owner): Promise<Page> {
    let page = opened
    if (page.url.includes('/login')) page = await person.submit(page, { identifier: as.email, password })
    if (page.url.includes('/second-factor')) {
      // A code is good once; another sign-in within half a minute would have to wait for the next.
      await server.database.pool.query(`UPDATE credential SET counter = 0 WHERE user_id = $1 AND kind = 'totp'`, [
        as.id,
      ])
      page = await person.submit(page, { code: codeAt(as.seed, new Date()) })
    }
    return page
  }

  /** As if the sign-ins of this person were some seconds longer ago. */
  async function age(userId: string, seconds: number): Promise<void> {
    await server.database.pool.query(
      `UPDATE session SET login_at = login_at - make_interval(secs => $2) WHERE user_id = $1`,
      [userId, seconds],
    )
  }

  return { ...j, server, owner, appoint, appointWith, enter, signIn, age, stop: () => server.stop() }
}

export { headingOf, tokenOf } from './account.ts'
