// npm run chaos [-- [--short] R1 R3]: the faults at full size, one after the other. Prints a table; with every row, writes it to results/ as well. Ends with 1
// when anything was wrong.
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { openInstallation } from './installation.ts'
import type { Report } from './report.ts'
import { rows } from './rows.ts'

const { values, positionals: chosen } = parseArgs({ options: { short: { type: 'boolean' } }, allowPositionals: true })
const unknown = chosen.filter((id) => !rows.some((row) => row.id === id))
if (unknown.length > 0)
  throw new Error(`there is no ${unknown.join(', ')}; there are ${rows.map(({ id }) => id).join(', ')}`)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1)) // and the servers with it

const reports: Record<string, Report & { name: string; seconds: number }> = {}
for (const row of rows.filter(({ id }) => chosen.length === 0 || chosen.includes(id))) {
  // One installation for each: what one row leaves behind must not be what another measures.
  const installation = await openInstallation()
  const began = performance.now()
  const report = await (values.short ? row.short : row.full)(installation)
  const seconds = Math.round((performance.now() - began) / 100) / 10
  reports[row.id] = { name: row.name, seconds, ...report }
  print(row.id, row.name, seconds, report)
  if (report.violations.length > 0) console.log(installation.printed())
  await installation.close()
}

const wrong = Object.values(reports).reduce((sum, { violations }) => sum + violations.length, 0)
if (Object.keys(reports).length === rows.length && !values.short) write()
console.log(wrong === 0 ? 'Nothing went wrong.' : `${wrong} violations.`)
process.exitCode = wrong === 0 ? 0 : 1

function print(id: string, name: string, seconds: number, { figures, violations }: Report): void {
  const width = Math.max(...Object.keys(figures).map((key) => key.length))
  console.log(`${id}  ${name} (${seconds} s)`)
  for (const [key, value] of Object.entries(figures)) console.log(`    ${key.padEnd(width)}  ${value}`)
  console.log(`    ${'violations'.padEnd(width)}  ${violations.length}`)
  for (const violation of violations) console.log(`      ${violation}`)
}

function write(): void {
  const machine = { cpus: cpus().length, cpu: cpus()[0]?.model, node: process.version, platform: process.platform }
  const folder = join(import.meta.dirname, 'results')
  mkdirSync(folder, { recursive: true })
  writeFileSync(
    join(folder, 'latest.json'),
    `${JSON.stringify({ at: new Date().toISOString(), machine, rows: reports }, null, 2)}\n`,
  )
}
