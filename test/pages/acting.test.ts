// Acting as somebody, in a real browser: the way there under the strict policy, and the banner on the pages of that session.
import { AxeBuilder } from '@axe-core/playwright'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { launchBrowser } from '#test/support/browser.ts'
import { press, signInAtConsole } from '#test/support/console-pages.ts'
import { reason, type SupportHome, startSupport } from '#test/support/impersonation.ts'
import { measureLooks } from '#test/support/looks.ts'
import { takePicture } from '#test/support/pictures.ts'

let home: SupportHome
let browser: Browser

beforeAll(async () => {
  home = await startSupport()
  browser = await launchBrowser()
})
afterAll(async () => {
  await browser?.close()
  await home?.stop()
})

test.each([
  ['wide and light', '', 'light', { width: 1360, height: 850 }],
  ['on a phone, dark', '-phone-dark', 'dark', { width: 320, height: 640 }],
] as const)('from the page of the person and back, %s', async (_what, suffix, colorScheme, viewport) => {
  const { page, complaints, close } = await signInAtConsole(browser, home, { colorScheme, viewport })
  try {
    await page.goto(`${home.server.url}/admin/people/${home.alice.id}`)
    await page.click('a[href$="/impersonate"]')
    await page.fill('#reason', reason)
    await page.click('main .danger')
    await page.waitForURL('**/account')
    for (const [name, path] of [
      ['acting', '/account/sessions'],
      ['acting-activity', '/account/activity'],
      ['acting-refused', '/account/security/password'],
      ['acting-end', '/account/impersonation'],
    ]) {
      await page.goto(home.server.url + path)
      expect(await page.textContent('.acting'), path).toContain('Alice@Example.com')
      if (name !== 'acting-activity') await takePicture(page, `console-${name}${suffix}`)
      const { violations } = await new AxeBuilder({ page }).analyze()
      const { overflow } = await measureLooks(page, { focusFirst: false })
      expect([violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`), Math.max(...overflow)], path).toEqual([
        [],
        0,
      ])
    }
    await press(page)
    expect(new URL(page.url()).pathname).toMatch(/^\/interaction\/.*\/login$/)
    expect(await page.locator('.acting').count()).toBe(0)
    expect(complaints).toEqual([])
  } finally {
    await close()
  }
})
