import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { passed } from '../../bench/figures/figure.ts'
import type { Measurement } from '../../bench/measure.ts'
import { carryOver, replaceMeasured, summarise } from '../../bench/report.ts'
import { discovery, hello } from '../../bench/scenarios/documents.ts'

const round = (scenario: string, arm: Measurement['arm'], cpuMicroseconds: number, p99 = 1): Measurement => ({
  scenario,
  arm,
  round: 0,
  operations: 1,
  seconds: 1,
  perSecond: 1,
  cpuMicroseconds,
  hashingMicroseconds: 0,
  p50: 1,
  p99,
  rssMegabytes: 1,
})

describe('the report', () => {
  test('a ratio is the baseline’s cost divided by ours; against Koa it is the other way round', () => {
    const rounds = [
      ...[90, 10, 80].map((cost) => round('discovery', 'engine-memory', cost)),
      ...[20, 900, 20].map((cost) => round('discovery', 'ours', cost)),
      round(hello.name, 'koa', 10),
    ]
    expect(summarise(discovery, rounds).verdicts).toEqual([
      { against: 'engine-memory', ratio: 4, goal: '≥ 3', passed: true }, // medians: one bad round decides nothing
      { against: 'koa', ratio: 2, goal: '≤ 1.5', passed: false },
    ])
  })

  test('what was not measured gets no verdict', () => {
    expect(summarise(discovery, [round('discovery', 'ours', 20)]).verdicts).toEqual([])
    expect(summarise(discovery, []).arms).toEqual([])
  })

  test('a figure meets its goal at the limit and misses it beyond; one that could not be measured misses', () => {
    expect(passed({ value: 10, goal: { atMost: 10 } })).toBe(true)
    expect(passed({ value: 10.1, goal: { atMost: 10 } })).toBe(false)
    expect(passed({ value: 0.7, goal: { atLeast: 0.8 } })).toBe(false)
    expect(passed({ value: Number.NaN, goal: { atMost: 10 } })).toBe(false)
    expect(passed({ value: 1 })).toBeUndefined()
  })

  test('what a run left out is told from the run that measured it, with its date', () => {
    const folder = mkdtempSync(join(tmpdir(), 'report-'))
    const file = join(folder, 'latest.json')
    expect(carryOver(file, new Set(['growth']))).toEqual([])
    const figure = { name: 'x', title: 'X', value: 1, unit: '' }
    const earlier = { finishedAt: '2026-01-01', commit: 'abc' }
    const figures = [
      { ...figure, source: 'memory' },
      { ...figure, source: 'growth' },
      { ...figure, source: 'growth', measured: earlier }, // carried once before
    ]
    writeFileSync(file, JSON.stringify({ finishedAt: '2026-02-02', versions: { commit: 'def' }, figures }))
    expect(carryOver(file, new Set(['growth'])).map(({ measured }) => measured)).toEqual([
      { finishedAt: '2026-02-02', commit: 'def' },
      earlier,
    ])
    rmSync(folder, { recursive: true })
  })

  test('only what stands between the markers of a document is replaced, dollar signs and all', () => {
    const text = 'before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n'
    expect(replaceMeasured(text, '$1 new\n')).toBe('before\n<!-- bench -->\n$1 new\n<!-- /bench -->\nafter\n')
    expect(() => replaceMeasured('no markers', 'new')).toThrow('<!-- bench -->')
  })
})
