// Does it stay as cheap when the tables are large? The same two operations in one database, first among ten thousand tokens, then
// among five million. (What a row weighs and how rows leave is growth.ts.)
import pg from 'pg'
import { fillLedger, furnishLedger } from '#test/support/ledger-rows.ts'
import { startArm } from '../arms/arms.ts'
import { median } from '../load.ts'
import { measure } from '../measure.ts'
import { introspectionAmong } from '../scenarios/client-credentials.ts'
import { refresh } from '../scenarios/code-flow.ts'
import type { FigureSource } from './figure.ts'

const small = 10_000
const atOnce = 100_000
/** Presented in turn, so that reads go all over the index. */
const introspected = 20_000

export const size: FigureSource = {
  name: 'size',
  onlyInFull: true,
  async measure(run) {
    const { lanes, seconds, rounds, rows } = run.settings
    const arm = await startArm('ours', run)
    const pool = new pg.Pool({ connectionString: arm.databaseUrl, max: 1 })
    const scenarios = [introspectionAmong(introspected), refresh]
    const costs = { small: scenarios.map((): number[] => []), large: scenarios.map((): number[] => []) }
    const fill = async (from: number, to: number) => {
      for (let first = from; first < to; first += atOnce)
        await fillLedger(pool, {
          first,
          count: Math.min(atOnce, to - first),
          until: new Date(Date.now() + 7_200_000), // none of them is to be swept meanwhile
          seconds: 600,
        })
      await pool.query('VACUUM ANALYZE')
    }
    const measureAll = async (into: number[][]) => {
      for (let round = 0; round < rounds; round++)
        for (const [n, scenario] of scenarios.entries()) {
          const options = { round, lanes, seconds, warmUpSeconds: round === 0 ? 3 : 1 }
          into[n]?.push((await measure(scenario, arm, options)).cpuMicroseconds)
        }
    }
    try {
      await furnishLedger(pool)
      await fill(0, small)
      await measureAll(costs.small)
      await fill(small, rows)
      await measureAll(costs.large)
    } finally {
      await pool.end()
      await arm.stop()
    }
    return scenarios.map((scenario, n) => ({
      name: `size.${scenario.name}`,
      title: `${scenario.title}: CPU at ${small.toLocaleString('en')} tokens / at ${rows.toLocaleString('en')}`,
      value: median(costs.small[n] ?? []) / median(costs.large[n] ?? []),
      unit: '',
      goal: { atLeast: 0.93 },
    }))
  },
}
