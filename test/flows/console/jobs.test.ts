// Scheduled work in the console: what runs, how it went, what nobody runs, and asking for a run.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ConsoleHome, headingOf, startConsole } from '#test/support/console.ts'

let home: ConsoleHome
beforeAll(async () => {
  home = await startConsole()
})
afterAll(() => home.stop())

test('the overview leads to it, and each job says how it went', async () => {
  const { person } = await home.enter()
  const none = await person.open('/admin/settings/jobs')
  expect(none.text).toContain('No process has done scheduled work yet.')
  await home.server.database.pool.query(
    `INSERT INTO job (name, every_seconds, when_needed, looked_at, began_at, seconds, outcome, failed_at, ran_by) VALUES
       ('sweep', 10, false, now(), now(), 0.084, 'done', NULL, 'host-1:41'),
       ('mail', 1, true, now(), now() - interval '3 min', 0.412, 'failed', now() - interval '3 min', 'host-2:7'),
       ('audit seal', 1, true, now() - interval '2 hours', NULL, NULL, NULL, NULL, NULL),
       ('something of a newer version', 60, false, now(), NULL, NULL, NULL, NULL, NULL)`,
  )
  expect((await person.open('/admin')).text).toContain('href="/admin/settings/jobs"')
  const page = await person.open('/admin/settings/jobs')
  expect([page.status, headingOf(page)]).toEqual([200, 'Scheduled work'])
  const rows = [...page.text.matchAll(/<tr>\s*<th scope="row">([\s\S]*?)<\/tr>/g)].map(([, row = '']) =>
    row
      .replaceAll(/<[^>]*>/g, ' ')
      .replaceAll(/\s+/g, ' ')
      .trim(),
  )
  expect(rows).toEqual([
    'Sealing the record audit seal nobody runs it Not yet When there is work looks again after 1 second Do it now',
    'Sending mails mail failed Failed 3 minutes ago 3 minutes ago host-2:7 412 ms When there is work looks again after 1 second Do it now',
    expect.stringMatching(
      /^something of a newer version something of a newer version waits Not yet .* after 1 minute Do it now$/,
    ),
    expect.stringMatching(
      /^Clearing up what is over sweep done just now host-1:41 84 ms .* after 10 seconds Do it now$/,
    ),
  ])
})

test('a run is asked for with a fresh sign-in, waits for a process, and the record says who asked', async () => {
  await home.server.database.pool.query('DELETE FROM job')
  const { prisma } = home.server.database
  await prisma.job.create({ data: { name: 'sweep', everySeconds: 10, whenNeeded: false, lookedAt: new Date() } })
  const { person } = await home.enter()
  const page = await person.open('/admin/settings/jobs')
  expect(page.text).not.toContain('asked for')
  const asked = await person.submit(page, { job: 'sweep' })
  expect([asked.status, asked.text.includes('It was asked for.')]).toEqual([200, true])
  expect(asked.text).toMatch(/class="badge badge-warn">asked for</)
  expect(await prisma.jobRequest.findMany()).toMatchObject([{ job: 'sweep', beganAt: null, endedAt: null }])
  const event = await prisma.auditEvent.findFirst({ where: { event: 'job.requested', targetId: 'sweep' } })
  expect(event).toMatchObject({ actorKind: 'user', actorId: home.owner.id })
  expect((await person.submit(asked, { job: 'nothing' })).status).toBe(404)

  await home.age(home.owner.id, 301)
  const late = await person.submit(await person.open('/admin/settings/jobs'), { job: 'sweep' })
  expect([late.status, late.text.includes('It was asked for.')]).toEqual([200, false])
  expect(await prisma.auditEvent.count({ where: { event: 'job.requested' } })).toBe(1)
})

test('whoever may only read has no button', async () => {
  const as = await home.appointWith('reader@example.com', 'reader', { permissions: ['settings:read', 'users:read'] })
  const { person } = await home.enter('/admin', { as })
  const page = await person.open('/admin/settings/jobs')
  expect([page.status, page.text.includes('sweep'), page.text.includes('Do it now')]).toEqual([200, true, false])
})
