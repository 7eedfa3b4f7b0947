// The growth run is a program of its own (../growth.ts), with a PostgreSQL of its own and both cores; here it is started and read.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { checkout, onEveryCore } from '../processes.ts'
import type { FigureSource } from './figure.ts'

const result = z.object({
  bytesPerRow: z.object({ mixed: z.number() }),
  sweepUnderReaders: z.object({
    tokens: z.number(),
    batchMilliseconds: z.object({ p99: z.number(), longest: z.number() }),
  }),
  steady: z.array(z.object({ round: z.number(), live: z.number(), megabytes: z.number() })),
})

export const growth: FigureSource = {
  name: 'growth',
  onlyInFull: true,
  async measure(run) {
    const [program = '', ...args] = onEveryCore([
      process.execPath,
      join(checkout, 'bench', 'growth.ts'),
      `--sizes=10000,${Math.min(1_000_000, run.settings.rows)},${run.settings.rows}`,
    ])
    const child = spawn(program, args, { cwd: checkout, stdio: 'inherit' })
    const [code] = (await once(child, 'exit')) as [number | null]
    if (code !== 0) throw new Error(`the growth run ended with ${code}`)
    const { bytesPerRow, sweepUnderReaders, steady } = result.parse(
      JSON.parse(readFileSync(join(checkout, 'bench', 'results', 'growth.json'), 'utf8')),
    )
    // The first half fills the tables: what is issued then has not begun to leave.
    const settled = steady.slice(steady.length / 2)
    const [first, last] = [settled[0], settled.at(-1)]
    return [
      {
        name: 'tokenRowBytes',
        title: 'token row on disk, indexes included, kinds as they are mixed',
        value: bytesPerRow.mixed,
        unit: 'bytes',
        goal: { atMost: 500 },
      },
      {
        name: 'steadySize',
        title: 'size of the token table while rows come and go, end / middle of the run',
        value: (last?.megabytes ?? Number.NaN) / (first?.megabytes ?? Number.NaN),
        unit: 'times',
        goal: { atMost: 1.05 },
        note: `${last?.megabytes.toFixed(0)} MB, ${last?.live.toLocaleString('en')} rows`,
      },
      {
        name: 'sweepBatch',
        title: `longest batch of a sweep of ${sweepUnderReaders.tokens.toLocaleString('en')} tokens under readers`,
        value: sweepUnderReaders.batchMilliseconds.longest,
        unit: 'ms',
        goal: { atMost: 50 },
        note: `p99 ${sweepUnderReaders.batchMilliseconds.p99.toFixed(0)} ms`,
      },
    ]
  },
}
