// Sessions and tokens in the console.
import type { ConsoleHome } from '#test/support/console.ts'
import { lookAtConsole, press } from '#test/support/console-pages.ts'
import { orders } from '#test/support/installation.ts'

let grant = ''
let token = ''
let person = ''

lookAtConsole(
  'tokens',
  [
    { name: 'tokens', path: () => '/admin/tokens?person=alice@example.com', shows: '/admin/tokens' },
    {
      name: 'tokens-unknown',
      path: () => '/admin/tokens',
      status: 422,
      async act(page) {
        await page.fill('#token', 'nothing that was issued here')
        return press(page)
      },
    },
    { name: 'tokens-grant', path: () => `/admin/tokens/grants/${grant}`, shows: '/admin/tokens/grants/:id' },
    { name: 'tokens-family', path: () => `/admin/tokens/families/${token}`, shows: '/admin/tokens/families/:id' },
    { name: 'tokens-revoke', path: () => `/admin/tokens/revoke?kind=grant&id=${grant}`, shows: '/admin/tokens/revoke' },
    {
      name: 'tokens-revoked',
      path: () => `/admin/tokens/revoke?kind=user&id=${person}`,
      act: (page) => press(page),
    },
  ],
  async (home: ConsoleHome) => {
    const options = { scope: 'openid offline_access orders:read', resource: orders, prompt: 'consent' }
    const first = await home.tokensFor(options, undefined, { resource: orders })
    const second = await home.refresh(first.refresh, { resource: orders })
    await home.refresh(String(second.body.refresh_token), { resource: orders })
    await home.tokensFor({ client_id: 'shop-spa', scope: 'openid profile' })
    const { prisma } = home.server.database
    person = home.alice.id
    grant = (await prisma.grant.findFirstOrThrow({ where: { clientId: 'shop-web' } })).id
    const row = await prisma.token.findFirstOrThrow({
      where: { grantId: grant, repeats: 0 },
      orderBy: { issuedAt: 'desc' },
    })
    token = Buffer.from(row.id).toString('base64url')
  },
)
