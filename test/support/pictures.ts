// The pictures in docs/screens, written by the tests that look at the pages anyway: SCREENS=1 npx vitest run test/pages
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { checkout } from './processes.ts'

const folder = join(checkout, 'docs/screens')

export async function takePicture(page: Page, name: string): Promise<void> {
  if (!process.env.SCREENS) return
  mkdirSync(folder, { recursive: true })
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true })
}
