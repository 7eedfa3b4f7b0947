// From nothing to the first 200, with a database that is migrated and furnished: what a restart or a new replica costs.
import { startArm } from '../arms/arms.ts'
import { median } from '../load.ts'
import type { FigureSource } from './figure.ts'

export const coldStart: FigureSource = {
  name: 'cold-start',
  async measure(run) {
    const times = { engine: [] as number[], ours: [] as number[] }
    const first = await startArm('ours', run)
    await first.stop()
    const { port, databaseUrl } = first // the issuer names the port
    await (await startArm('ours', { ...run, port, databaseUrl, people: false })).stop()
    for (let repetition = 0; repetition < (run.settings.mode === 'quick' ? 3 : 7); repetition++)
      for (const [name, list] of [
        ['engine-memory', times.engine],
        ['ours', times.ours],
      ] as const) {
        const own = name === 'ours' ? { port, databaseUrl, people: false } : {}
        const arm = await startArm(name, { ...run, ...own, readyPath: '/.well-known/openid-configuration' })
        await arm.stop()
        list.push(arm.coldStartMilliseconds)
      }
    const [engine, ours] = [median(times.engine), median(times.ours)]
    return [
      { name: 'coldStartEngine', title: 'cold start to first 200, bare engine', value: engine, unit: 'ms' },
      { name: 'coldStartOurs', title: 'cold start to first 200, ours', value: ours, unit: 'ms' },
      {
        name: 'coldStartRatio',
        title: 'cold start, ours / bare engine',
        value: ours / engine,
        unit: 'times',
        goal: { atMost: 2 },
      },
    ]
  },
}
