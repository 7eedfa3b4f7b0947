// Resident memory: at start, after everything the scenarios did, and while further tokens are issued.
import { Connection } from '../connection.ts'
import { median } from '../load.ts'
import { clientCredentialsJwt, clientCredentialsOpaque } from '../scenarios/client-credentials.ts'
import { targetAt } from '../scenarios/scenario.ts'
import { armOf, type FigureSource } from './figure.ts'

export const memory: FigureSource = {
  name: 'memory',
  async measure(run) {
    const ours = armOf(run, 'ours')
    const engine = run.arms.get('engine-memory')
    const { tokens, lanes } = run.settings
    const target = targetAt(ours.port, lanes)
    const operations = [await clientCredentialsJwt.prepare(target), await clientCredentialsOpaque.prepare(target)]
    const loaded = Math.max(
      ours.rss(),
      ...run.measurements.filter(({ arm }) => arm === 'ours').map(({ rssMegabytes }) => rssMegabytes),
    )
    let issued = 0
    const samples: number[] = []
    const step = Math.max(1, Math.floor(tokens / 40))
    await Promise.all(
      Array.from({ length: lanes }, async (_, lane) => {
        const connection = await Connection.open(ours.port)
        while (issued < tokens) {
          if (++issued % step === 0) samples.push(ours.rss())
          await operations[issued % 2]?.(connection, lane)
        }
        connection.close()
      }),
    )
    const quarter = Math.floor(samples.length / 4)
    const growth = median(samples.slice(-quarter)) - median(samples.slice(0, quarter))
    return [
      {
        name: 'rssAtStart',
        title: 'RSS at start',
        value: ours.rssAtStart,
        unit: 'MB',
        goal: { atMost: 150 },
        ...(engine ? { note: `bare engine ${engine.rssAtStart.toFixed(0)} MB` } : {}),
      },
      { name: 'rssLoaded', title: 'RSS under load, the most', value: loaded, unit: 'MB', goal: { atMost: 220 } },
      {
        name: 'rssGrowth',
        title: `RSS growth over ${tokens.toLocaleString('en')} further tokens, last quarter against first`,
        value: growth,
        unit: 'MB',
        goal: { atMost: 10 },
        note: `from ${median(samples.slice(0, quarter)).toFixed(0)} MB`,
      },
    ]
  },
}
