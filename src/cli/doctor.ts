// sallyport doctor: looks the installation over and says what should be changed. Exit code 0: nothing as bad as --fail-on; 1: something is;
// 2: wrong usage or configuration.
import { type Command, Option } from 'commander'
import { type Report, runCheckup } from '#src/checkup/checkup.ts'
import { type Finding, type Severity, severities } from '#src/checkup/finding.ts'
import { findUnusedScopes, shrink } from '#src/checkup/shrink.ts'
import type { CliDeps } from './deps.ts'
import { cliChange, collect } from './input.ts'
import { printable, table } from './table.ts'

export function register(program: Command, deps: CliDeps): void {
  const doctor = program
    .command('doctor')
    .description(
      'looks the installation over: what is unsafe, why, and what mends it; exit code 1 if there is something',
    )
    .addOption(
      new Option('--fail-on <severity>', 'the least that ends with 1')
        .choices([...severities, 'never'])
        .default('warning'),
    )
    .action(async ({ failOn }: { failOn: Severity | 'never' }) => {
      const { configInForce, secretKeys, now, openDatabase } = deps
      const report = await runCheckup({
        ...{ database: await openDatabase(), config: await configInForce(), secretKeys: secretKeys() },
        now,
      })
      deps.out(report, inWords(report))
      const bad = severities.slice(0, severities.indexOf(failOn as Severity) + 1)
      if (bad.some((severity) => report.counts[severity] > 0)) process.exitCode = 1
    })

  doctor
    .command('shrink')
    .description('takes from applications the scopes they have not used for 90 days; without --yes it only tells')
    .option('--client <id>', 'of this one alone (repeat for several)', collect)
    .option('--yes', 'do it', false)
    .action(async ({ client, yes }: { client?: string[]; yes: boolean }) => {
      const database = await deps.openDatabase()
      const change = cliChange(deps)
      const { scopes, more } = await findUnusedScopes(database, change.now, { clientIds: client })
      const done = await shrink(database, scopes, { dryRun: !yes }, change)
      const rows = done.removed.map(({ clientId, api, scope }) => [clientId, api, scope])
      const shown = table(
        ['application', 'api', yes ? 'removed' : 'would be removed'],
        rows,
        'Every scope is in use, or was given within 90 days.',
      )
      deps.out({ ...done, dryRun: !yes, more }, more ? `${shown}\n\nThere are more: run it again.` : shown)
    })
}

function inWords({ findings, counts, checks }: Report): string {
  const shown = findings.map(inLines)
  const more = checks.filter((check) => check.more > 0).map(({ about, more }) => `${more} more: ${about}.`)
  const clean = checks.filter((check) => check.findings === 0).map(({ about }) => about)
  const end = [
    `${counts.critical} critical, ${counts.warning} warnings, ${counts.note} notes in ${checks.length} checks.`,
    ...(clean.length > 0 ? [`Nothing to be said about: ${clean.join('; ')}.`] : []),
  ]
  return [...shown, ...(more.length > 0 ? [more.join('\n')] : []), end.join('\n')].join('\n\n')
}

function inLines({ severity, subject, what, why, section, fix }: Finding): string {
  const about = subject.id === null ? '' : `${subject.kind.replace('_', ' ')} ${subject.id}: `
  return [`${severity.toUpperCase()}  ${about}${what}`, `  why: ${why} (${section})`, `  fix: ${fix}`]
    .map(printable)
    .join('\n')
}
