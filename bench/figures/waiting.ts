// How long callers wait when the server is busy, not drowned: requests leave on schedule at 70 % of what it can carry.
import { median, openLoop, percentile } from '../load.ts'
import { clientCredentialsJwt, clientCredentialsOpaque, introspectionOpaque } from '../scenarios/client-credentials.ts'
import { codeFlow, refresh } from '../scenarios/code-flow.ts'
import { targetAt } from '../scenarios/scenario.ts'
import { armOf, type Figure, type FigureSource } from './figure.ts'

const lanes = 48

export const waiting: FigureSource = {
  name: 'waiting',
  async measure(run) {
    const ours = armOf(run, 'ours')
    const figures: Figure[] = []
    for (const scenario of [clientCredentialsJwt, clientCredentialsOpaque, introspectionOpaque, refresh, codeFlow]) {
      const capacity = median(
        run.measurements
          .filter((one) => one.arm === 'ours' && one.scenario === scenario.name)
          .map(({ perSecond }) => perSecond),
      )
      if (!(capacity > 0)) continue
      const p99: number[] = []
      for (let round = 0; round < Math.min(3, run.settings.rounds); round++) {
        const operation = await scenario.prepare(targetAt(ours.port, lanes))
        const { port } = ours
        const load = await openLoop({
          port,
          lanes,
          perSecond: capacity * 0.7,
          seconds: run.settings.seconds,
          operation,
        })
        p99.push(percentile(load.milliseconds, 0.99))
      }
      figures.push({
        name: `p99At70Percent.${scenario.name}`,
        title: `p99 at 70 % of capacity: ${scenario.title}`,
        value: median(p99),
        unit: 'ms',
        goal: { atMost: 10 },
        note: `${(capacity * 0.7).toFixed(0)}/s`,
      })
    }
    return figures
  },
}
