// Every screen in a real browser: readable by assistive technology, in both colour schemes, on the narrowest phone and at 200 %, in
// both directions of writing, under the strict policy, without a script; small, and nothing moves by itself.
import { AxeBuilder } from '@axe-core/playwright'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { launchBrowser, openPage } from '#test/support/browser.ts'
import { measureLooks, watchShifts } from '#test/support/looks.ts'
import { takePicture } from '#test/support/pictures.ts'
import { type Hosted, startHosted } from './hosted.ts'
import { createPerson, protocolRoutes, screens } from './screens.ts'

let hosted: Hosted
let browser: Browser
let userId: string
/** Not in docs/screens: what looks like another one there. */
const notPictured = [
  'login-again',
  'login-incomplete',
  'email-code-refused',
  'consent-nothing-ticked',
  'form-post',
  'setup-refused',
  'redirect-uri',
  'unexpected',
  'expired',
]

beforeAll(async () => {
  hosted = await startHosted({ routes: protocolRoutes, outOfBand: { send: async () => undefined } })
  browser = await launchBrowser()
  userId = await createPerson(hosted)
})

afterAll(async () => {
  await browser?.close()
  await hosted?.stop()
})

// Colours differ by scheme and room by width; neither changes the other, so two passes see everything.
const passes = [
  {
    what: 'wide and light, and twice as large',
    suffix: '',
    colorScheme: 'light',
    viewport: { width: 1280, height: 800 },
  },
  { what: 'on a phone and dark', suffix: '-phone-dark', colorScheme: 'dark', viewport: { width: 320, height: 640 } },
] as const
const names = screens('nobody').map(({ name }) => name)

describe.each(passes)('$what', ({ suffix, colorScheme, viewport }) => {
  it.each(names)('%s', async (name) => {
    const screen = screens(userId).find((one) => one.name === name)
    const { page, complaints, close } = await openPage(browser, { colorScheme, viewport, locale: 'en-GB' })
    await watchShifts(page)
    const status = await screen?.open(hosted, page)
    if (!notPictured.includes(name)) await takePicture(page, name + suffix)
    const { violations } = await new AxeBuilder({ page }).analyze()
    // A picture that is not there would be the box of a broken one.
    const broken = await page.evaluate(() => [...document.images].filter((image) => image.naturalWidth === 0).length)
    const { bytes, overflow, ...looks } = await measureLooks(page, { focusFirst: true })
    expect({
      status,
      violations: violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`),
      complaints,
      broken,
      overflow: Math.max(...overflow),
      ...looks,
    }).toEqual({
      status: screen?.status,
      violations: [],
      complaints: [],
      broken: 0,
      overflow: 0,
      shifts: [],
      focus: [],
      untied: [],
    })
    expect(bytes).toBeGreaterThan(10_000)
    expect(bytes).toBeLessThan(50_000)
    await close()
  })
})
