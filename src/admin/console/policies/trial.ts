// Before a draft is enforced: one question asked with it and without it, and the decisions of the last days made again. Nothing is changed by
// either. What is tried is sent in the form, so that a text can be tried before it is kept.
import { decideAction } from '#src/access/decide.ts'
import type { Decision } from '#src/access/gates.ts'
import { findPolicySchema, type PolicyRecord } from '#src/access/policies/policies.ts'
import { draftOf, type Replay, replayBounds, replayPolicies } from '#src/access/policies/replay.ts'
import { type Draft, readTrial } from '#src/access/policies/trial.ts'
import { refuseBeyond } from '#src/admin/bounds.ts'
import { ApiNotFound, findApi } from '#src/apis/apis.ts'
import type { Form } from '#src/http/form.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import type { Choice } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, type PageDeps } from '../page.ts'
import { findSubject, type Named } from '../subjects.ts'
import { readPolicy } from './read.ts'

type Tried = {
  name: string
  href: string
  text: string
  what: readonly Choice[]
  flaws: readonly Flaw[]
}

type Answer = { allowed: boolean; gate: string | null; reason: string; policies: readonly string[] }
type Input = { subject: string; action: string; type: string; id: string }

export type PolicyTryPage = Tried & {
  input: Input
  actions: readonly string[]
  unknown: boolean
  answer: { subject: string; before: Answer; after: Answer } | undefined
}

type Line = { at: Moment; subject: string; action: string; object: string }
type Changed = Line & { before: Answer; after: Answer }

export type PolicyReplayPage = Tried & {
  days: number
  mostDays: number
  found:
    | {
        permitted: number
        refused: number
        withoutPolicies: number
        unchanged: number
        changedSince: number
        permittedShare: number
        gains: readonly Changed[]
        loses: readonly Changed[]
        undecided: readonly (Line & { why: Replay['undecided'][number]['why']; names: readonly string[] })[]
        next: string | null
      }
    | undefined
}

const tryPage = template<PolicyTryPage>('admin/console/policy-try')
const replayPage = template<PolicyReplayPage>('admin/console/policy-replay')
const common = { section: 'policies', scope: 'policies:read', lines: ['text'] } as const

export function policyTryPage({ database, now, render }: PageDeps): ConsolePage {
  const { prisma } = database
  return {
    ...common,
    path: '/admin/policies/:id/try',
    async show(request) {
      const { policy, ...tried } = await read(request)
      const input = { subject: '', action: '', type: '', id: '' }
      await show(request, policy, { ...tried, input, unknown: false, answer: undefined, flaws: [] }, 200)
    },
    async submit(request, form) {
      const { policy, draft, ...tried } = await read(request, form)
      const text = (name: string) => form.get(name)?.trim().slice(0, 320) ?? ''
      const input: Input = { subject: text('subject'), action: text('action'), type: text('type'), id: text('id') }
      const subject = await findSubject(prisma, input.subject)
      if (!subject) return show(request, policy, { ...tried, input, unknown: true, answer: undefined, flaws: [] }, 422)
      const { ip } = request.ctx
      const result = await attempt(() => decideTwice(policy, draft, subject, { ...input, address: ip }))
      const answer = result.ok ? { subject: subject.name, ...result.value } : undefined
      const flaws = result.ok ? [] : result.flaws
      await show(request, policy, { ...tried, input, unknown: false, answer, flaws }, result.ok ? 200 : result.status)
    },
  }

  /** It tells what somebody's roles permit, as the tester of roles does. */
  async function read(request: ConsoleRequest, form?: Form) {
    await refuseBeyond(request.bounds, ['roles:read'])
    return readTried(prisma, request, form)
  }

  async function show(
    request: ConsoleRequest,
    policy: PolicyRecord,
    shown: Omit<PolicyTryPage, 'actions'>,
    status: number,
  ) {
    const { ground } = await findPolicySchema(prisma, policy.apiIdentifier)
    render(request, tryPage, { ...shown, actions: [...ground.actions] }, { section: 'policies', status })
  }

  async function decideTwice(
    { apiIdentifier }: PolicyRecord,
    draft: Draft,
    subject: Named,
    { action, type, id, address }: Input & { address: string },
  ) {
    const trial = await readTrial(prisma, apiIdentifier, [draft])
    const api = await findApi(prisma, apiIdentifier)
    if (!api) throw new ApiNotFound(apiIdentifier)
    const question = { api, action, object: { type: type || 'api', id: id || apiIdentifier }, context: {}, address }
    const decide = async (policies: typeof trial.now) =>
      answerOf(
        await decideAction(
          { database, now, policiesOf: () => (policies.size > 0 ? policies : undefined) },
          subject,
          question,
        ),
      )
    return { before: await decide(trial.now), after: await decide(trial.next) }
  }
}

export function policyReplayPage({ database, config, render }: PageDeps): ConsolePage {
  const { prisma } = database
  return {
    ...common,
    path: '/admin/policies/:id/replay',
    async show(request) {
      const { tried } = await read(request)
      show(request, { ...tried, days: replayBounds.usualDays, found: undefined, flaws: [] }, 200)
    },
    async submit(request, form) {
      const { policy, draft, tried } = await read(request, form)
      const said = Number(form.get('days'))
      const days = Number.isInteger(said) && said >= 1 && said <= replayBounds.days ? said : replayBounds.usualDays
      const after = form.get('after') ?? ''
      const since = new Date(request.now.getTime() - days * 86_400_000)
      const page = { since, limit: replayBounds.usualPerPage, after: after || undefined }
      const result = await attempt(() => replayPolicies(database, policy.apiIdentifier, [draft], page))
      if (!result.ok) return show(request, { ...tried, days, found: undefined, flaws: result.flaws }, result.status)
      show(request, { ...tried, days, found: foundOf(request, result.value), flaws: [] }, 200)
    },
  }

  /** It tells of receipts, which are for whoever may read those. */
  async function read(request: ConsoleRequest, form?: Form) {
    await refuseBeyond(request.bounds, ['audit:read'])
    const { policy, draft, ...tried } = await readTried(prisma, request, form)
    return { policy, draft, tried }
  }

  function show(request: ConsoleRequest, shown: Omit<PolicyReplayPage, 'mostDays'>, status: number) {
    render(request, replayPage, { ...shown, mostDays: replayBounds.days }, { section: 'policies', status })
  }

  function foundOf({ words, now, person }: ConsoleRequest, replay: Replay): PolicyReplayPage['found'] {
    const { looked, unchanged, changedSince, gains, loses, undecided, next } = replay
    const lineOf = ({ at, subject, action, object }: Replay['undecided'][number] | Replay['gains'][number]): Line => ({
      at: moment(words, at, now, person.zoneinfo),
      subject: `${subject.type} ${subject.id}`,
      action,
      object: `${object.type} ${object.id}`,
    })
    const changed = (one: Replay['gains'][number]): Changed => ({
      ...lineOf(one),
      before: answerOf(one.before),
      after: answerOf(one.after),
    })
    return {
      ...looked,
      ...{ unchanged, changedSince, permittedShare: config.decisionReceiptsPermitted, next },
      gains: gains.map(changed),
      loses: loses.map(changed),
      undecided: undecided.map((one) => ({ ...lineOf(one), why: one.why, names: one.names })),
    }
  }
}

/** What is tried: the text of the form in force, or, of an enforced policy, that it is taken away. */
async function readTried(prisma: PageDeps['database']['prisma'], request: ConsoleRequest, form?: Form) {
  const policy = await readPolicy(prisma, request)
  const { t } = request.words
  const text = form?.get('text') ?? policy.text
  const away = policy.state === 'enforced' && (form ? form.get('what') === 'away' : true)
  const what =
    policy.state === 'enforced'
      ? [
          { value: 'away', label: t('console.policies.tryAway'), selected: away },
          { value: 'text', label: t('console.policies.tryText'), selected: !away },
        ]
      : []
  return {
    policy,
    draft: draftOf(policy, away ? undefined : text),
    ...{ name: policy.name, href: `/admin/policies/${policy.id}`, text, what },
  }
}

const answerOf = ({ allowed, gate, reason, policies }: Pick<Decision, 'allowed' | 'gate' | 'reason' | 'policies'>) => ({
  ...{ allowed, gate, policies },
  reason: reason.replaceAll('_', ' '),
})
