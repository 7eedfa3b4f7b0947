import type { Change } from '#src/audit/change.ts'

/** A change made by nobody in particular at a fixed time, unless a test cares. */
export const changeAt = (time = '2026-11-22T12:00:00.000Z'): Change => ({
  now: new Date(time),
  actor: { kind: 'system', id: 'test' },
})
