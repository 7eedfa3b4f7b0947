// Two workers on the server's core beside one: what sharing the work between processes costs, as CPU for each operation.
import { startArm } from '../arms/arms.ts'
import { median } from '../load.ts'
import { measure } from '../measure.ts'
import { clientCredentialsOpaque } from '../scenarios/client-credentials.ts'
import { codeFlow, refresh } from '../scenarios/code-flow.ts'
import type { Figure, FigureSource } from './figure.ts'

export const workers: FigureSource = {
  name: 'workers',
  async measure(run) {
    // Both new: a process that has served for minutes is compiled better than one that has not, by more than the figure is about.
    const one = await startArm('ours', { ...run, databaseUrl: await run.postgres.createDatabase('one_worker') })
    const two = await startArm('ours', {
      ...run,
      workers: '2',
      databaseUrl: await run.postgres.createDatabase('two_workers'),
    })
    const figures: Figure[] = []
    const { lanes, seconds, rounds } = run.settings
    try {
      for (const scenario of [clientCredentialsOpaque, refresh, codeFlow]) {
        const costs = { one: [] as number[], two: [] as number[] }
        for (let round = 0; round < rounds; round++) {
          const options = { round, lanes, seconds, warmUpSeconds: round === 0 ? 20 : 2 } // each has half of the requests to get warm with
          costs.one.push((await measure(scenario, one, options)).cpuMicroseconds)
          costs.two.push((await measure(scenario, two, options)).cpuMicroseconds)
        }
        figures.push({
          name: `twoWorkers.${scenario.name}`,
          title: `CPU per operation, two workers / one: ${scenario.title}`,
          value: median(costs.two) / median(costs.one),
          unit: 'times',
          goal: { atMost: 1.1 },
        })
      }
    } finally {
      await one.stop()
      await two.stop()
    }
    return figures
  },
}
