// What can be measured about how a page looks and behaves: used for every hosted page and every account page.
import type { Page } from 'playwright-core'

type Shift = { value: number; moved: string[] }

/** From now on what moves on this page by itself is written down. Scripts arrive after the first picture, as on a slow connection:
 *  that is when they can move something. */
export async function watchShifts(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const shifts: Shift[] = []
    Object.assign(globalThis, { shifts })
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as (PerformanceEntry & {
        value: number
        hadRecentInput: boolean
        sources: { node?: Element | null }[]
      })[]) {
        const moved = entry.sources.map(({ node }) => node?.outerHTML?.slice(0, 80) ?? '')
        if (!entry.hadRecentInput) shifts.push({ value: entry.value, moved })
      }
    }).observe({ type: 'layout-shift', buffered: true })
  })
  await page.route('**/*.js', async (route) => {
    try {
      await page.waitForFunction(() => performance.getEntriesByType('paint').length > 0)
    } finally {
      await route.continue()
    }
  })
}

export type Looks = {
  /** Everything that the page needs: HTML, style, scripts, icons. */
  bytes: number
  /** By how many pixels it is wider than the window: from left to right, from right to left, and both at 200 %. */
  overflow: number[]
  /** Moved without anybody touching it. */
  shifts: Shift[]
  /** Where the focus should be and is not. */
  focus: string[]
  /** What says that it is wrong, or described, and is not tied to its words. */
  untied: string[]
}

/** @param options.focusFirst a page with one form: its first field has the focus. After an error it is the first wrong field anywhere. */
export async function measureLooks(page: Page, options: { focusFirst: boolean }): Promise<Looks> {
  const seen = await page.evaluate(async ({ focusFirst }) => {
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve))
    // Passkeys fetch their library when they are asked for; it counts as if they were.
    const part = document.querySelector<HTMLElement>('[data-passkey]')
    if (part && globalThis.PublicKeyCredential) await (await fetch(String(part.dataset.library))).blob()
    await frame()
    await frame()
    const sizes = new Map<string, number>()
    for (const entry of performance.getEntries())
      if (entry instanceof PerformanceResourceTiming) sizes.set(entry.name, entry.decodedBodySize)
    const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0)

    const fields = [...document.querySelectorAll<HTMLInputElement>('main :is(input, select)')].filter(
      ({ type, hidden }) => !hidden && type !== 'hidden' && type !== 'checkbox',
    )
    const wrong = [...document.querySelectorAll<HTMLInputElement>('[aria-invalid]')]
    const first = wrong[0] ?? (focusFirst ? (fields.find(({ value }) => value === '') ?? fields[0]) : undefined)
    const focus = !first || document.activeElement === first ? [] : [`${first.id}, not ${document.activeElement?.id}`]

    const described = [...document.querySelectorAll('[aria-describedby]')].flatMap((element) =>
      (element.getAttribute('aria-describedby') ?? '').split(' ').map((id) => ({ element, id })),
    )
    const empty = described.filter(({ id }) => !document.getElementById(id)?.textContent?.trim())
    const errors = [...document.querySelectorAll<HTMLElement>('.field-error:not([role=alert])')]
    const loose = errors.filter(
      ({ id }) => !described.some((one) => one.id === id && wrong.includes(one.element as never)),
    )
    const silent = wrong.filter((field) => !errors.some(({ id }) => id === `${field.id}-error`))
    const untied = [
      ...empty.map(({ id }) => `${id} is not there`),
      ...loose.map(({ id }) => `${id} describes nothing`),
      ...silent.map(({ id }) => `${id} does not say what is wrong`),
    ]
    return { bytes, focus, untied, shifts: [...(globalThis as unknown as { shifts: Shift[] }).shifts] }
  }, options)

  const overflow: number[] = []
  const size = page.viewportSize() ?? { width: 1280, height: 800 }
  // 200 % of a window of 1280 pixels; a narrower one is at its limit already (WCAG 2.2, 1.4.10).
  for (const width of size.width > 640 ? [size.width, 640] : [size.width]) {
    await page.setViewportSize({ ...size, width })
    for (const dir of ['ltr', 'rtl'])
      overflow.push(
        await page.evaluate((direction) => {
          document.documentElement.dir = direction
          return document.documentElement.scrollWidth - document.documentElement.clientWidth
        }, dir),
      )
  }
  await page.setViewportSize(size)
  return { ...seen, overflow }
}
