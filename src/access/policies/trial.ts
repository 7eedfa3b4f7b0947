// What a draft would change, before it is enforced: questions are put to the enforced policies and to the same with the draft, and the answers
// are laid side by side.
import { setImmediate } from 'node:timers/promises'
import type { Database, Db } from '#src/db/database.ts'
import { type Flaw, quote } from '#src/refusal.ts'
import {
  checkPolicy,
  createPolicySet,
  evaluatePolicies,
  type KeptPolicy,
  type PolicyAnswer,
  type PolicySet,
} from './cedar.ts'
import { findPolicySchema, InvalidPolicy, listPolicies } from './policies.ts'
import type { PolicyQuestion } from './question.ts'
import { compilePolicySchema, type PolicyGround, type PolicySchema } from './schema.ts'

/** A draft takes the place of the enforced policy of its name, or is added; without a text that policy is taken away. */
export type Draft = Readonly<{
  name: string
  text?: string | undefined
  /** Where the text stands in what was asked. */
  field?: string | undefined
}>

/** @param granted a role or a relation would let it through: only a forbid then matters (docs/decisions/033). */
export type TrialQuestion = PolicyQuestion & Readonly<{ granted?: boolean | undefined }>

type TrialResult = Readonly<{
  before: PolicyAnswer
  after: PolicyAnswer
  change: 'gains' | 'loses' | 'none'
}>

const most = 10_000

/** @returns a result for each question, in their order. @throws InvalidPolicy, ApiNotFound */
export async function tryPolicies(
  { prisma }: Pick<Database, 'prisma'>,
  apiIdentifier: string,
  drafts: readonly Draft[],
  questions: readonly TrialQuestion[],
): Promise<{ results: TrialResult[]; gains: number; loses: number }> {
  const tooMany = { field: 'questions', problem: `are more than ${most}`, fix: 'Try a sample of them.' }
  const { now, next: then } = await readTrial(prisma, apiIdentifier, drafts, questions.length > most ? [tooMany] : [])
  const results: TrialResult[] = []
  for (const [at, question] of questions.entries()) {
    // Others are served in between.
    if (at % 50 === 49) await setImmediate()
    const before = evaluatePolicies(now, question)
    const after = evaluatePolicies(then, question)
    const [was, is] = [before, after].map(({ effect }) =>
      question.granted ? effect !== 'forbid' : effect === 'permit',
    )
    results.push({ before, after, change: was === is ? 'none' : is ? 'gains' : 'loses' })
  }
  const count = (change: TrialResult['change']) => results.filter((result) => result.change === change).length
  return { results, gains: count('gains'), loses: count('loses') }
}

/** The policies in force, and the same with the drafts. @param flaws of the rest of what was asked.
 *  @throws InvalidPolicy with every flaw, ApiNotFound */
export async function readTrial(
  db: Db,
  apiIdentifier: string,
  drafts: readonly Draft[],
  flaws: readonly Flaw[] = [],
): Promise<{ now: PolicySet; next: PolicySet; ground: PolicyGround; schema: PolicySchema }> {
  const { ground } = await findPolicySchema(db, apiIdentifier)
  const records = (await listPolicies(db, { apiIdentifier })).filter(({ state }) => state === 'enforced')
  const enforced = new Map(records.map((record) => [record.name, record as unknown as KeptPolicy]))
  const compiled = compilePolicySchema(ground)
  if ('flaws' in compiled) throw new InvalidPolicy(compiled.flaws)
  const found: Flaw[] = []
  const changed = new Map(enforced)
  for (const [at, { name, text, field = `drafts[${at}].text` }] of drafts.entries()) {
    if (text === undefined) {
      if (!changed.delete(name))
        found.push({
          field: `drafts[${at}].name`,
          problem: `${quote(name)} is not enforced here`,
          fix: 'Name an enforced policy to take away, or give a text.',
        })
      continue
    }
    const checked = checkPolicy(text, compiled.schema, field)
    if ('flaws' in checked) found.push(...checked.flaws)
    else changed.set(name, { name, text, ...checked })
  }
  if (found.length + flaws.length > 0) throw new InvalidPolicy([...found, ...flaws])
  return {
    now: createPolicySet([...enforced.values()], ground),
    next: createPolicySet([...changed.values()], ground),
    ...{ ground, schema: compiled.schema },
  }
}
