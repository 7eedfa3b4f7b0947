// The rows of the plan, each with its two sizes: the full one that `npm run chaos` publishes, and the short one of `npm test`. The code is the same.
import type { Installation } from './installation.ts'
import { killedDatabase } from './killed-database.ts'
import { killedServer } from './killed-server.ts'
import { linearizability } from './linearizability.ts'
import { lostAnswer } from './lost-answer.ts'
import { oneWinner } from './one-winner.ts'
import type { Report } from './report.ts'
import { sweptRows } from './swept-rows.ts'

export type Row = { id: string; name: string; full: Run; short: Run }
type Run = (installation: Installation) => Promise<Report>

export const rows: readonly Row[] = [
  row('R1', 'exactly one winner', oneWinner, {
    full: { each: 1000, typed: 200, hashed: 20, parallel: 10 },
    short: { each: 4, typed: 1, hashed: 1, parallel: 10 },
  }),
  row('R2', 'no answer that contradicts another', linearizability, {
    full: { operations: 100_000, families: 16, clients: 24 },
    short: { operations: 1_200, families: 6, clients: 12 },
  }),
  row('R3', 'the server is killed', killedServer, {
    full: { kills: 500, each: 20, families: 8 },
    short: { kills: 1, each: 1, families: 4 },
  }),
  row('R4', 'the answer is lost', lostAnswer, {
    full: { each: 200, atOnce: 8 },
    short: { each: 2, atOnce: 4 },
  }),
  row('R5', 'the database is killed', killedDatabase, {
    full: { kills: 20, families: 8, loadMs: 1000 },
    short: { kills: 1, families: 4, loadMs: 300 },
  }),
  row('R12', 'a million rows are swept', sweptRows, {
    full: { over: 1_000_000, alive: 20_000, families: 4, windowMs: 2000 },
    short: { over: 20_000, alive: 2_000, families: 2, windowMs: 500 },
  }),
]

function row<Size>(
  id: string,
  name: string,
  run: (installation: Installation, size: Size) => Promise<Report>,
  sizes: { full: Size; short: Size },
): Row {
  return {
    id,
    name,
    full: (installation) => run(installation, sizes.full),
    short: (installation) => run(installation, sizes.short),
  }
}
