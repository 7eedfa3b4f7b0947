// From raw rounds to medians, ratios and verdicts, and from those to text. Nobody types a figure: docs/scaling.md gets its own here.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ArmName } from './arms/arms.ts'
import { type Figure, passed } from './figures/figure.ts'
import { median } from './load.ts'
import type { Machine, Versions } from './machine.ts'
import type { Measurement } from './measure.ts'
import { checkout } from './processes.ts'
import { hello } from './scenarios/documents.ts'
import type { Goal, Scenario } from './scenarios/scenario.ts'

const armNames: Record<ArmName, string> = {
  koa: 'bare Koa',
  'engine-memory': 'engine, memory',
  'engine-postgres': 'engine, Postgres',
  ours: 'ours',
}
const p99Goal = 1.5

type Medians = Record<'cpuMicroseconds' | 'hashingMicroseconds' | 'perSecond' | 'p50' | 'p99' | 'rssMegabytes', number>
type Verdict = { against: ArmName; ratio: number; goal: string; passed: boolean }
type ScenarioResult = {
  name: string
  title: string
  arms: ({ arm: ArmName } & Medians)[]
  verdicts: Verdict[]
  /** Ours / the bare engine's, at equal concurrency. */
  p99Ratio?: { value: number; passed: boolean }
}

/** `measured` is set when the figure stems from an earlier run, which measured what this one left out. */
export type ReportedFigure = Figure & {
  source: string
  passed?: boolean
  measured?: { finishedAt: string; commit: string }
}

export type Report = {
  finishedAt: string
  mode: string
  settings: { lanes: number; rounds: number; seconds: number }
  machine: Machine
  versions: Versions
  scenarios: ScenarioResult[]
  figures: ReportedFigure[]
  rounds: readonly Measurement[]
}

/** @returns what the rounds so far say about one scenario. */
export function summarise(scenario: Scenario, rounds: readonly Measurement[]): ScenarioResult {
  const mediansOf = (name: string, arm: ArmName): Medians | undefined => {
    const own = rounds.filter((round) => round.scenario === name && round.arm === arm)
    const of = (key: keyof Medians) => median(own.map((round) => round[key]))
    if (own.length === 0) return undefined
    return {
      cpuMicroseconds: of('cpuMicroseconds'),
      hashingMicroseconds: of('hashingMicroseconds'),
      perSecond: of('perSecond'),
      p50: of('p50'),
      p99: of('p99'),
      rssMegabytes: of('rssMegabytes'),
    }
  }
  const ours = mediansOf(scenario.name, 'ours')
  const engine = mediansOf(scenario.name, 'engine-memory')
  const verdicts = scenario.goals.flatMap((goal): Verdict[] => {
    const baseline = mediansOf(goal.against === 'koa' ? hello.name : scenario.name, goal.against)
    return ours && baseline ? [judge(goal, baseline.cpuMicroseconds, ours.cpuMicroseconds)] : []
  })
  const value = ours && engine ? ours.p99 / engine.p99 : undefined
  return {
    name: scenario.name,
    title: scenario.title,
    arms: scenario.arms.flatMap((arm) => {
      const medians = mediansOf(scenario.name, arm)
      return medians ? [{ arm, ...medians }] : []
    }),
    verdicts,
    ...(value !== undefined && scenario.p99Compared ? { p99Ratio: { value, passed: value <= p99Goal } } : {}),
  }
}

function judge(goal: Goal, baseline: number, ours: number): Verdict {
  return 'atLeast' in goal
    ? {
        against: goal.against,
        ratio: baseline / ours,
        goal: `≥ ${goal.atLeast}`,
        passed: baseline / ours >= goal.atLeast,
      }
    : {
        against: goal.against,
        ratio: ours / baseline,
        goal: `≤ ${goal.atMost}`,
        passed: ours / baseline <= goal.atMost,
      }
}

/** @param file of an earlier report. @returns its figures of the sources that were left out now. */
export function carryOver(file: string, leftOut: ReadonlySet<string>): ReportedFigure[] {
  if (!existsSync(file)) return []
  const { finishedAt, versions, figures } = JSON.parse(readFileSync(file, 'utf8')) as Report
  return figures
    .filter(({ source }) => leftOut.has(source))
    .map((figure) => ({ measured: { finishedAt, commit: versions.commit }, ...figure }))
}

export function toMarkdown(report: Report): string {
  const { machine, versions, settings } = report
  return [
    `Measured ${report.finishedAt.slice(0, 10)} at commit ${versions.commit} on ${machine.cpuModel}, ${machine.cores} cores, ${machine.memoryGigabytes} GB, Linux ${machine.kernel}; ` +
      `Node ${versions.node}, PostgreSQL ${versions.postgres} (fsync and synchronous_commit on), oidc-provider ${versions.oidcProvider}, Koa ${versions.koa}. ` +
      `${machine.pinned ? 'The server has one core, the load and PostgreSQL another' : 'One core for everything'}; ` +
      `${settings.lanes} requests at once, ${settings.rounds} round${settings.rounds === 1 ? '' : 's'} of ${settings.seconds} s, medians.`,
    '',
    'Server CPU for each operation, in microseconds. Ratio: the baseline’s divided by ours, larger is better (against Koa: ours divided by Koa’s).',
    '',
    `| work | ${armNames['engine-memory']} | ${armNames['engine-postgres']} | ours | ratio | goal | | ops/s | p50 ms | p99 ms | p99 to engine’s |`,
    '|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---|',
    ...report.scenarios.flatMap(scenarioRows),
    '',
    '| figure | value | goal | | |',
    '|---|---:|---:|---|---|',
    ...report.figures.map(figureRow),
    '',
  ].join('\n')
}

function scenarioRows(result: ScenarioResult): string[] {
  const of = (name: ArmName) => result.arms.find(({ arm }) => arm === name)
  const cost = (name: ArmName) => of(name)?.cpuMicroseconds.toFixed(name === 'koa' ? 1 : 0) ?? ''
  const shown = of('ours') ?? of('koa')
  const [first, ...others] = result.verdicts
  const verdict = (one: Verdict | undefined) =>
    one ? [one.ratio.toFixed(2), one.goal, word(one.passed)] : ['', '', '']
  const p99 = result.p99Ratio
  return [
    row(
      of('koa') ? `${result.title}: ${cost('koa')} µs` : result.title,
      cost('engine-memory'),
      cost('engine-postgres'),
      cost('ours'),
      ...verdict(first),
      shown?.perSecond.toFixed(0) ?? '',
      shown?.p50.toFixed(2) ?? '',
      shown?.p99.toFixed(2) ?? '',
      p99 ? `${p99.value.toFixed(2)} (≤ ${p99Goal}) ${word(p99.passed)}` : '',
    ),
    ...others.map((one) => row(`… against ${armNames[one.against]}`, '', '', '', ...verdict(one), '', '', '', '')),
  ]
}

function figureRow(figure: ReportedFigure): string {
  const { goal, measured } = figure
  const notes = [figure.note, measured && `measured ${measured.finishedAt.slice(0, 10)} at ${measured.commit}`]
  const value =
    Number.isInteger(figure.value) || figure.value >= 100 ? figure.value.toFixed(0) : figure.value.toFixed(2)
  const wanted = goal ? ('atMost' in goal ? `≤ ${goal.atMost}` : `≥ ${goal.atLeast}`) : ''
  return row(
    figure.title,
    `${value} ${figure.unit}`.trim(),
    wanted,
    word(passed(figure)),
    notes.filter(Boolean).join('; '),
  )
}

const row = (...cells: string[]) => `| ${cells.join(' | ')} |`
const word = (ok: boolean | undefined) => (ok === undefined ? '' : ok ? 'pass' : '**miss**')

/** @returns the files that were written. */
export function writeReport(report: Report, folder: string, name: string): string[] {
  mkdirSync(folder, { recursive: true })
  const [json, markdown] = [join(folder, `${name}.json`), join(folder, `${name}.md`)]
  writeFileSync(
    json,
    `${JSON.stringify(report, (_key, value) => (typeof value === 'number' ? round(value) : value), 2)}\n`,
  )
  writeFileSync(markdown, toMarkdown(report))
  return [json, markdown]
}

/** Rewrites the measured part of a document. */
export function publish(report: Report, file: string): void {
  const path = join(checkout, file)
  writeFileSync(path, replaceMeasured(readFileSync(path, 'utf8'), toMarkdown(report)))
}

/** @returns the text with `measured` between its two markers. @throws Error when it has none. */
export function replaceMeasured(text: string, measured: string): string {
  const block = /(<!-- bench -->)[\s\S]*?(<!-- \/bench -->)/
  if (!block.test(text)) throw new Error('nowhere to write: <!-- bench --> and <!-- /bench --> are missing')
  return text.replace(block, (_, begin: string, end: string) => `${begin}\n${measured}${end}`)
}

/** Four significant digits: the rest is noise. */
function round(value: number): number {
  return Number.isInteger(value) ? value : Number(value.toPrecision(4))
}
