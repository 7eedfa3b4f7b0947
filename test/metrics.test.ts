// What the overview says of answers, out of the buckets that a scrape shows.
import { expect, test } from 'vitest'
import { createMetrics } from '#src/metrics.ts'

test('the middle and the slow end of all requests, whatever their route; nothing before the first', async () => {
  const metrics = createMetrics()
  expect(await metrics.latency()).toBeUndefined()
  for (let n = 0; n < 60; n++) metrics.request('/oauth/token', 200, 0.004)
  for (let n = 0; n < 36; n++) metrics.request('/account', 200, 0.04)
  for (let n = 0; n < 4; n++) metrics.request('/admin', 200, 0.3)
  expect(await metrics.latency()).toEqual({ requests: 100, medianSeconds: 0.005, slowSeconds: 0.05 })
})
