// Console pages in a real browser, signed in through the real login: readable by assistive technology, in both colour schemes, on a phone,
// at 200 %, under the strict policy. A file of tests a section, each with its own installation, so that its pictures show what it furnishes.
import { AxeBuilder } from '@axe-core/playwright'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { launchBrowser, openPage, type WatchedPage } from './browser.ts'
import { type ConsoleHome, consoleTable, headingOf, startConsole } from './console.ts'
import { codeAt } from './factors.ts'
import { password } from './installation.ts'
import { measureLooks, watchShifts } from './looks.ts'
import { takePicture } from './pictures.ts'

const passes = [
  { what: 'wide and light', suffix: '', colorScheme: 'light', viewport: { width: 1360, height: 850 } },
  { what: 'at 200 %', suffix: undefined, colorScheme: 'light', viewport: { width: 640, height: 400 } },
  { what: 'on a phone, dark', suffix: '-phone-dark', colorScheme: 'dark', viewport: { width: 320, height: 640 } },
] as const

export type ConsoleScreen = {
  /** Of the picture, after `console-`. */
  name: string
  /** Of the page that is seen in the end. */
  status?: number
  path: (home: ConsoleHome) => string
  /** Which entry of the table it shows, where that is not the path. */
  shows?: string
  /** What is done there. @returns the status of the page that it leads to, where it leads to one. */
  act?: (page: Page, home: ConsoleHome) => Promise<number | undefined>
}

/** Presses a button of the page and waits for where it leads. */
export async function press(page: Page, button = 'main .primary, main .danger'): Promise<number> {
  const [response] = await Promise.all([
    page.waitForResponse((candidate) => candidate.request().isNavigationRequest() && candidate.status() !== 303),
    page.click(button),
  ])
  await page.waitForLoadState('load')
  return response.status()
}

export async function signInAtConsole(browser: Browser, home: ConsoleHome, options: object = {}): Promise<WatchedPage> {
  const watched = await openPage(browser, { locale: 'en-GB', ...options })
  const { page } = watched
  await watchShifts(page)
  await page.goto(`${home.server.url}/admin`)
  await page.fill('[name=identifier]', home.owner.email)
  await page.fill('[name=password]', password)
  await page.click('.primary')
  await page.waitForURL('**/second-factor')
  await home.server.database.pool.query(`UPDATE credential SET counter = 0 WHERE user_id = $1 AND kind = 'totp'`, [
    home.owner.id,
  ])
  await page.fill('[name=code]', codeAt(home.owner.seed, new Date()))
  await page.click('.primary')
  await page.waitForURL('**/admin')
  return watched
}

/** @param section whose pages are all to be among the screens. @param furnish what the pages show, made once. */
export function lookAtConsole(
  section: string,
  screens: readonly ConsoleScreen[],
  furnish: (home: ConsoleHome) => Promise<void>,
  env: Record<string, string> = {},
): void {
  const signedIn = new Map<string, WatchedPage>()
  let home: ConsoleHome
  let browser: Browser

  beforeAll(async () => {
    home = await startConsole({ env })
    browser = await launchBrowser()
    await furnish(home)
    for (const { what, colorScheme, viewport } of passes)
      signedIn.set(what, await signInAtConsole(browser, home, { colorScheme, viewport }))
  })
  afterAll(async () => {
    for (const { close } of signedIn.values()) await close()
    await browser?.close()
    await home?.stop()
  })

  test('every page of the section is among them', () => {
    const ours = consoleTable.filter((page) => page.section === section && page.show)
    const shown = screens.map(({ shows, path }) => shows ?? path(home))
    expect(ours.length).toBeGreaterThan(0)
    expect(ours.map(({ path }) => path).filter((path) => !shown.includes(path))).toEqual([])
  })

  describe.each(passes)('$what', ({ what, suffix }) => {
    // The passes take longer than a sign-in counts as fresh.
    beforeEach(() => home.server.database.pool.query('UPDATE session SET login_at = now() WHERE ended_at IS NULL'))

    test.each(screens)('$name', async ({ name, status = 200, path, act }) => {
      const { page, complaints } = signedIn.get(what) as WatchedPage
      const opened = await page.goto(home.server.url + path(home))
      const acted = await act?.(page, home)
      const answered = acted ?? opened?.status() ?? 0
      const inPlace = act !== undefined && acted === undefined // what a person does may move what is below it
      if (suffix !== undefined) await takePicture(page, `console-${name}${suffix}`)
      const { violations } = await new AxeBuilder({ page }).analyze()
      const { overflow, shifts } = await measureLooks(page, { focusFirst: false })
      expect({
        status: answered,
        violations: violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`),
        complaints,
        overflow: Math.max(...overflow),
        shifts: inPlace ? [] : shifts,
      }).toEqual({ status, violations: [], complaints: [], overflow: 0, shifts: [] })
      expect(headingOf({ text: await page.content() } as never)).not.toBe('')
    })
  })
}
