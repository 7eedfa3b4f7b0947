// Every screen in a real browser: readable by assistive technology, in both colour schemes, on the narrowest phone, under the
// strict policy, without a script.
import { AxeBuilder } from '@axe-core/playwright'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { launchBrowser, openPage } from '#test/support/browser.ts'
import { takePicture } from '#test/support/pictures.ts'
import { type Hosted, startHosted } from './hosted.ts'
import { createPerson, protocolRoutes, screens } from './screens.ts'

let hosted: Hosted
let browser: Browser
let userId: string
/** Those that docs/screens shows. */
const pictured = ['login', 'login-refused', 'email-code', 'email-code-sent', 'consent', 'logout', 'not-found', 'setup']

beforeAll(async () => {
  hosted = await startHosted({ routes: protocolRoutes })
  browser = await launchBrowser()
  userId = await createPerson(hosted)
})

afterAll(async () => {
  await browser?.close()
  await hosted?.stop()
})

// Colours differ by scheme and room by width; neither changes the other, so two passes see everything.
it.each([
  { colorScheme: 'light', viewport: { width: 1280, height: 800 } },
  { colorScheme: 'dark', viewport: { width: 320, height: 640 } },
] as const)(
  'every screen passes axe and fits, in $colorScheme and $viewport.width px wide',
  async ({ colorScheme, viewport }) => {
    for (const screen of screens(userId)) {
      const { page, complaints, close } = await openPage(browser, { colorScheme, viewport, locale: 'en-GB' })
      const status = await screen.open(hosted, page)
      if (pictured.includes(screen.name))
        await takePicture(page, colorScheme === 'light' ? screen.name : `${screen.name}-phone-dark`)
      const { violations } = await new AxeBuilder({ page }).analyze()
      const overflow = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      )
      const seen = {
        screen: screen.name,
        status,
        violations: violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`),
        complaints,
        overflow,
      }
      expect
        .soft(seen)
        .toEqual({ screen: screen.name, status: screen.status, violations: [], complaints: [], overflow: 0 })
      await close()
    }
  },
  240_000,
)
