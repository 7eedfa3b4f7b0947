// `npm run bench`: one run, from an empty PostgreSQL to the report. README.md says how to read it.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Arm, type ArmName, startArm } from './arms/arms.ts'
import { coldStart } from './figures/cold-start.ts'
import { type FigureSource, passed, type Run } from './figures/figure.ts'
import { growth } from './figures/growth.ts'
import { guard } from './figures/guard.ts'
import { hashing } from './figures/hashing.ts'
import { loginStorm } from './figures/login-storm.ts'
import { memory } from './figures/memory.ts'
import { secondDoor } from './figures/second-door.ts'
import { size } from './figures/size.ts'
import { storage } from './figures/storage.ts'
import { timing } from './figures/timing.ts'
import { waiting } from './figures/waiting.ts'
import { workers } from './figures/workers.ts'
import { describeMachine, describeVersions } from './machine.ts'
import { type Measurement, measure } from './measure.ts'
import { startPostgres } from './postgres.ts'
import { checkout, moveToLoadCore, pinned } from './processes.ts'
import { profileOurs } from './profile.ts'
import { carryOver, publish, type Report, type ReportedFigure, summarise, toMarkdown, writeReport } from './report.ts'
import type { Scenario } from './scenarios/scenario.ts'
import { scenarios } from './scenarios/scenarios.ts'
import { readSettings, type Settings, usage } from './settings.ts'

/** In this order: those that want the servers warm come first. */
const figureSources: readonly FigureSource[] = [
  waiting,
  memory,
  hashing,
  storage,
  timing,
  coldStart,
  workers,
  loginStorm,
  size,
  guard,
  secondDoor,
  growth,
]

const settings = readSettings(process.argv.slice(2))
if (settings === 'help') console.log(`${usage}\n  names: ${names().join(' ')}`)
else await bench(settings)

async function bench(settings: Settings): Promise<void> {
  const { only, profile } = settings
  const unknown = [...(only ?? []), ...(profile ? [profile] : [])].find((name) => !names().includes(name))
  if (unknown !== undefined) throw new TypeError(`there is no "${unknown}"; there are ${names().join(', ')}`)
  const chosen = scenarios.filter(({ name }) => !only || only.has(name))
  const figures = figureSources.filter(({ name, onlyInFull }) =>
    only ? only.has(name) : settings.mode === 'full' || !onlyInFull,
  )

  moveToLoadCore()
  if (!pinned) console.log('One core only: the server, the load and PostgreSQL share it, and latencies say little.')
  const workspace = mkdtempSync(join(tmpdir(), 'sallyport-bench-'))
  const postgres = await startPostgres(workspace)
  const arms = new Map<ArmName, Arm>()
  const rounds: Measurement[] = []
  const run: Run = { settings, postgres, workspace, arms, measurements: rounds }
  try {
    if (profile) {
      for (const scenario of scenarios.filter(({ name }) => name === profile)) await profileOurs(scenario, run)
      return
    }
    const wanted = new Set(
      chosen.flatMap((scenario) => scenario.arms).filter((name) => !settings.arms || settings.arms.has(name)),
    )
    if (figures.length > 0) wanted.add('ours')
    for (const name of wanted) arms.set(name, await startArm(name, run))
    for (const scenario of chosen) await takeTurns(scenario, run, rounds)
    const found: ReportedFigure[] = []
    for (const source of figures) {
      const own = await source.measure(run)
      for (const { title, value, unit, note = '' } of own) console.log(`${title}: ${value.toFixed(2)} ${unit} ${note}`)
      found.push(...own.map((figure) => ({ ...figure, source: source.name, passed: passed(figure) })))
    }
    finish(
      {
        finishedAt: new Date().toISOString(),
        mode: settings.mode,
        settings: { lanes: settings.lanes, rounds: settings.rounds, seconds: settings.seconds },
        machine: describeMachine(),
        versions: describeVersions(postgres.version),
        scenarios: chosen.map((scenario) => summarise(scenario, rounds)),
        figures: found,
        rounds,
      },
      settings,
    )
  } finally {
    await Promise.all([...arms.values()].map((arm) => arm.stop()))
    await postgres.stop()
    rmSync(workspace, { recursive: true, force: true })
  }
}

/** Each round asks every arm once, forwards and backwards by turns: whatever else the machine does meets all of them. */
async function takeTurns(scenario: Scenario, run: Run, rounds: Measurement[]): Promise<void> {
  const { lanes, seconds } = run.settings
  for (let round = 0; round < run.settings.rounds; round++) {
    const turn = scenario.arms.flatMap((name) => run.arms.get(name) ?? [])
    if (round % 2 === 1) turn.reverse()
    for (const arm of turn)
      rounds.push(await measure(scenario, arm, { round, lanes, seconds, warmUpSeconds: round === 0 ? 2 : 1 }))
  }
  const { arms, verdicts } = summarise(scenario, rounds)
  for (const { arm, cpuMicroseconds, perSecond, p50, p99 } of arms) {
    const each = rounds.filter((one) => one.scenario === scenario.name && one.arm === arm)
    console.log(
      [
        scenario.name.padEnd(18),
        arm.padEnd(16),
        `${cpuMicroseconds.toFixed(1)} us/op`.padStart(14),
        `${perSecond.toFixed(0)}/s`.padStart(9),
        `p50 ${p50.toFixed(2)} ms`.padStart(14),
        `p99 ${p99.toFixed(2)} ms`.padStart(14),
        ` rounds ${each.map((one) => one.cpuMicroseconds.toFixed(0)).join(' ')}`,
      ].join(' '),
    )
  }
  for (const { against, ratio, goal, passed } of verdicts)
    console.log(`${''.padEnd(18)} against ${against}: ${ratio.toFixed(2)} (goal ${goal}) ${passed ? 'pass' : 'MISS'}`)
}

function finish(report: Report, settings: Settings): void {
  const complete = !settings.only && !settings.arms && settings.mode !== 'quick'
  if (complete && settings.mode !== 'full') {
    const leftOut = figureSources.flatMap(({ name, onlyInFull }) => (onlyInFull ? [name] : []))
    report.figures.push(...carryOver(join(checkout, 'bench', 'results', 'latest.json'), new Set(leftOut)))
  }
  console.log(`\n${toMarkdown(report)}`)
  const folder = complete ? join(checkout, 'bench', 'results') : join(checkout, '.data', 'bench')
  const files = writeReport(report, folder, complete ? 'latest' : 'partial')
  if (complete) publish(report, 'docs/scaling.md')
  console.log(`written: ${files.join(', ')}`)
}

function names(): string[] {
  return [...scenarios, ...figureSources].map(({ name }) => name)
}
