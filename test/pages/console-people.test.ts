// People in the console.
import { accountKey, reserveGuess } from '#src/factors/guessing.ts'
import { createUser, findUserByEmail, setUserDisabled, updateUser } from '#src/users/users.ts'
import { lookAtConsole, press } from '#test/support/console-pages.ts'
import { giveRecoveryCodes, giveTotp } from '#test/support/factors.ts'
import { change, orders } from '#test/support/installation.ts'

const names = ['Grace Hopper', 'Mary Anning', 'Katherine Johnson', 'Hedy Lamarr', 'Lise Meitner', 'Emmy Noether']
let grace = ''

const of = (part: string) => () => `/admin/people/${grace}${part}`

lookAtConsole(
  'people',
  [
    { name: 'people', path: () => '/admin/people' },
    { name: 'people-none', path: () => '/admin/people?q=nobody' },
    {
      name: 'people-search',
      path: () => '/admin/people',
      async act(page) {
        await page.fill('#q', 'hedy')
        await page.waitForURL('**/admin/people?q=hedy**')
        await page.waitForFunction(() => document.querySelectorAll('#found tbody tr').length === 1)
        return undefined
      },
    },
    { name: 'person', path: (home) => `/admin/people/${home.alice.id}`, shows: '/admin/people/:id' },
    { name: 'person-new', path: () => '/admin/people/new' },
    {
      name: 'person-new-refused',
      path: () => '/admin/people/new',
      status: 422,
      async act(page) {
        await page.fill('#email', 'grace@example')
        await page.fill('#attributes', '{ department: sales }')
        return press(page)
      },
    },
    { name: 'person-edit', path: of('/edit'), shows: '/admin/people/:id/edit' },
    {
      name: 'person-disable',
      path: (home) => `/admin/people/${home.alice.id}/disable`,
      shows: '/admin/people/:id/disable',
    },
    { name: 'person-impersonate', path: of('/impersonate'), shows: '/admin/people/:id/impersonate' },
    {
      name: 'person-impersonate-refused',
      path: (home) => `/admin/people/${home.owner.id}/impersonate`,
      status: 422,
      async act(page) {
        await page.fill('#reason', 'To see what they see')
        return press(page)
      },
    },
    { name: 'person-sign-out', path: of('/sign-out'), shows: '/admin/people/:id/sign-out' },
    { name: 'person-reset-factors', path: of('/reset-factors'), shows: '/admin/people/:id/reset-factors' },
    { name: 'person-delete', path: of('/delete'), shows: '/admin/people/:id/delete' },
    {
      name: 'again',
      path: of('/edit'),
      async act(page, home) {
        await home.age(home.owner.id, 400)
        return press(page)
      },
    },
    { name: 'signed-in', path: () => '/admin/again' },
    { name: 'person-not-found', path: () => '/admin/people/nobody', status: 404 },
  ],
  async (home) => {
    const { database, secretKeys } = home.server
    const { prisma } = database
    for (const [index, name] of names.entries()) {
      const email = `${name.toLowerCase().replace(' ', '.')}@example.com`
      const made = await createUser(prisma, { email, name, emailVerified: index % 3 !== 2 }, change())
      if (index === 0) grace = made.id
      if (index === 1) await setUserDisabled(prisma, made.id, true, change())
    }
    await database.pool.query(`UPDATE users SET created_at = created_at - interval '11 days' WHERE name > 'H'`)
    await home.tokensFor(
      { scope: 'openid profile email offline_access orders:read', resource: orders, prompt: 'consent' },
      undefined,
      { resource: orders },
    )
    await updateUser(prisma, home.alice.id, { attributes: { department: 'sales', plan: 'paid' } }, change())
    await giveTotp(home.server, home.alice.id)
    await giveRecoveryCodes(home.server, home.alice.id)
    const alice = await findUserByEmail(prisma, 'alice@example.com')
    for (let n = 0; n < 6; n++)
      await reserveGuess(database, {
        factor: 'password',
        account: accountKey(secretKeys, alice?.emailKey ?? ''),
        address: '198.51.100.99',
        now: new Date(Date.now() - (6 - n) * 3_600_000),
      })
  },
  { IMPERSONATION: 'on' },
)
