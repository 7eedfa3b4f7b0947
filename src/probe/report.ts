// What a probe found, collected by operation, and as a person reads it.
import { type Finding, type FindingKind, findingKinds } from './findings.ts'
import type { Note } from './targets.ts'

/** @param stopped why it ended early. @param probed how many operations were asked. @param judged how many of them said anything about who may call. */
export type Report = Readonly<{
  url: string
  api: string
  requests: number
  probed: number
  judged: number
  stopped: string | null
  findings: readonly (Finding & { title: string; why: string; fix: string; reference: string })[]
  notes: readonly Note[]
}>

export type Findings = ReturnType<typeof createFindings>

export function createFindings(first: readonly Note[]) {
  const findings = new Map<string, Finding>()
  const notes = new Map(first.map((note) => [`${note.operation} ${note.note}`, note]))
  let probed = 0
  let judged = 0
  return {
    probed(isJudged: boolean): void {
      probed++
      if (isJudged) judged++
    },
    /** One finding for each kind and operation, however many credentials show it. */
    add({ kind, operation, saw }: { kind: FindingKind; operation: string; saw: string }): void {
      const key = `${kind} ${operation}`
      const known = findings.get(key)
      if (known) known.saw.push(saw)
      else findings.set(key, { kind, operation, saw: [saw] })
    },
    note(...more: Note[]): void {
      for (const note of more) notes.set(`${note.operation} ${note.note}`, note)
    },
    operations: () => ({ probed, judged }),
    /** The gravest first. */
    findings: (): Report['findings'] => {
      const rank = Object.keys(findingKinds)
      return [...findings.values()]
        .sort((a, b) => rank.indexOf(a.kind) - rank.indexOf(b.kind))
        .map((finding) => ({ ...finding, ...findingKinds[finding.kind] }))
    },
    notes: () => [...notes.values()],
  }
}

/** @param table how the house prints rows. */
export function describeReport(
  report: Report,
  table: (heads: string[], rows: string[][], empty: string) => string,
): string {
  const { findings, notes, probed, judged, requests, stopped, url } = report
  const rows = findings.flatMap(({ title, operation, saw }) =>
    saw.map((one, index) => (index === 0 ? [operation, title, one] : ['', '', one])),
  )
  const nothing = judged === 0 ? 'Nothing could be judged' : 'Nothing was found'
  const summary = findings.length === 0 ? nothing : `${findings.length} finding${findings.length === 1 ? '' : 's'}`
  const kinds = [...new Map(findings.map((finding) => [finding.kind, finding])).values()]
  return [
    ...(findings.length > 0 ? [table(['operation', 'finding', 'answer'], rows, '')] : []),
    ...kinds.map(({ title, why, fix, reference }) => `${title} (${reference})\n  ${why}\n  ${fix}`),
    ...(notes.length > 0
      ? [
          table(
            ['operation', 'not told by this probe'],
            notes.map(({ operation, note }) => [operation, note]),
            '',
          ),
        ]
      : []),
    [
      ...(stopped === null ? [] : [`Ended early: ${stopped}. The rest was not asked.`]),
      `${summary} at ${url}: ${judged} of ${probed} operations could be judged, ${requests} requests.`,
      'What was made for it here is removed.',
    ].join('\n'),
  ].join('\n\n')
}
