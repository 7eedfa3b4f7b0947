// The faults of README.md in their short form. `npm run chaos` is the same at full size.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { killAll } from '#test/support/processes.ts'
import { type Installation, openInstallation } from './installation.ts'
import { rows } from './rows.ts'

let installation: Installation
beforeAll(async () => {
  installation = await openInstallation()
})
afterAll(async () => {
  killAll()
  await installation?.close()
})

test.each(rows.map(({ id, name, short }) => [id, name, short] as const))(
  '%s: %s, and nothing wrong comes of it',
  async (_id, _name, short) => {
    const { figures, violations } = await short(installation)
    expect(violations, `${JSON.stringify(figures)}\n${installation.printed()}`).toEqual([])
  },
)
