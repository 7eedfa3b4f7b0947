// sallyport policies replay: what a policy would have changed of the last days' decisions, in words.
import type { Replay } from '#src/access/policies/replay.ts'
import { printable, table } from './table.ts'

/** Pages of one replay, as one. */
export function joinReplays(pages: readonly Replay[]): Omit<Replay, 'next'> & { complete: boolean } {
  const sum = (count: (page: Replay) => number) => pages.reduce((total, page) => total + count(page), 0)
  return {
    looked: {
      permitted: sum(({ looked }) => looked.permitted),
      refused: sum(({ looked }) => looked.refused),
      withoutPolicies: sum(({ looked }) => looked.withoutPolicies),
    },
    unchanged: sum(({ unchanged }) => unchanged),
    changedSince: sum(({ changedSince }) => changedSince),
    gains: pages.flatMap(({ gains }) => gains),
    loses: pages.flatMap(({ loses }) => loses),
    undecided: pages.flatMap(({ undecided }) => undecided),
    complete: pages.at(-1)?.next === null,
  }
}

export function describeReplay(
  { looked, unchanged, changedSince, gains, loses, undecided, complete }: ReturnType<typeof joinReplays>,
  { since, permittedShare }: { since: Date; permittedShare: number },
): string {
  const changes = table(
    ['change', 'who', 'action', 'what', 'now', 'after', 'times', 'last decision'],
    [...together('gains', gains), ...together('loses', loses)],
    '',
  )
  const reasons = Map.groupBy(
    undecided,
    ({ why, names }) => `${whyInWords[why]}${names.length > 0 ? `: ${printable(names.join(', '))}` : ''}`,
  )
  const lines = [
    `${looked.permitted + looked.refused} receipts since ${since.toISOString()}: ${looked.permitted} of yes, ${looked.refused} of no.`,
    `${looked.withoutPolicies} never came as far as the policies. ${gains.length} gain, ${loses.length} lose, ${unchanged} stay as they are, ${undecided.length} cannot be decided again.`,
    ...[...reasons].map(([reason, all]) => `  ${all.length} times ${reason}`),
    ...(changedSince > 0
      ? [
          `Of ${changedSince} the answer is another one today, without this: roles, relations or policies have changed since.`,
        ]
      : []),
    ...(complete ? [] : ['There are older ones: --most reads more.']),
    sampling(permittedShare),
  ]
  return [...(gains.length + loses.length > 0 ? [changes] : []), ...lines].join('\n')
}

const whyInWords: Record<Replay['undecided'][number]['why'], string> = {
  older: 'the receipt is of a release that did not keep what policies look at',
  not_kept: 'policies may look at what was said and not kept',
  subject_gone: 'whoever asked is no longer here',
  action_gone: 'the API no longer has the action',
}

/** The same person at the same thing a hundred times is one line. */
function together(change: string, changes: Replay['gains']): string[][] {
  const same = Map.groupBy(changes, ({ subject, action, object, before, after }) =>
    JSON.stringify([subject, action, object, before, after]),
  )
  return [...same.values()].flatMap((all) => {
    const [newest] = all
    if (!newest) return []
    const { id, subject, action, object, before, after } = newest
    return [
      [
        change,
        `${subject.type}:${subject.id}`,
        action,
        `${object.type}:${object.id}`,
        inWords(before),
        inWords(after),
        String(all.length),
        id,
      ],
    ]
  })
}

function inWords({ allowed, gate, policies }: Replay['gains'][number]['before']): string {
  const by = policies.length > 0 ? ` (${policies.join(', ')})` : ''
  return `${allowed ? 'yes' : `no, ${gate}`}${by}`
}

/** Whoever reads "0 lose" must know whether anybody could have been seen to. */
function sampling(share: number): string {
  if (share >= 1) return 'A receipt of every answer is kept.'
  return share === 0
    ? 'No receipt of a yes is kept: who would lose something is not seen. DECISION_RECEIPTS_PERMITTED says of how many one is.'
    : `Of a yes a receipt is kept in a share of ${share} (DECISION_RECEIPTS_PERMITTED): who would lose something is seen in that share.`
}
