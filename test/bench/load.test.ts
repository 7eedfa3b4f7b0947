import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WrongAnswer } from '../../bench/connection.ts'
import { closedLoop, median, openLoop, percentile } from '../../bench/load.ts'

let server: Server
let port: number
beforeAll(async () => {
  server = createServer((_request, response) => response.end('x'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = (server.address() as AddressInfo).port
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

describe('the load', () => {
  test('one wrong answer of one lane fails the whole measurement', async () => {
    const operation = async (_: unknown, lane: number) => {
      await delay(1)
      if (lane === 2) throw new WrongAnswer('401')
    }
    const loop = closedLoop({ port, lanes: 3, warmUpSeconds: 0, seconds: 30, operation })
    await expect(loop).rejects.toThrow('401')
    await expect(openLoop({ port, lanes: 3, perSecond: 500, seconds: 30, operation })).rejects.toThrow('401')
  })

  test('operations of the warm-up are not counted', async () => {
    let all = 0
    let atStart = 0
    const operation = async () => {
      await delay(1)
      all++
    }
    const load = await closedLoop({
      port,
      lanes: 2,
      warmUpSeconds: 0.2,
      seconds: 0.2,
      operation,
      onWarm: async () => {
        atStart = all
      },
    })
    expect(atStart).toBeGreaterThan(0)
    expect(load.operations).toBeGreaterThan(0)
    expect(load.operations).toBeLessThanOrEqual(all - atStart)
    expect(load.milliseconds).toHaveLength(load.operations)
  })

  test('at a given rate, the time in the queue counts: a slow server cannot hide it', async () => {
    // One lane, 50 ms each, 100 due a second: the fifth has waited for four others.
    const operation = () => delay(50)
    const load = await openLoop({ port, lanes: 1, perSecond: 100, seconds: 0.1, operation })
    expect(load.operations).toBeGreaterThanOrEqual(9)
    expect(percentile(load.milliseconds, 0.99)).toBeGreaterThan(300)
  })

  test('median and percentile', () => {
    expect(median([3, 1, 2])).toBe(2)
    expect(median([4, 1, 2, 3])).toBe(2.5)
    expect(median([])).toBeNaN()
    expect(
      percentile(
        Float64Array.from({ length: 100 }, (_, n) => n + 1),
        0.99,
      ),
    ).toBe(100)
    expect(percentile(Float64Array.from([7]), 0.99)).toBe(7)
  })
})
