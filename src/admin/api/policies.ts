// /api/v1/policies, and what they may speak of: /api/v1/policies/schema?api=…
import { z } from 'zod'
import { policySchemaDocument, toTrialQuestion, trialDocument } from '#src/access/policies/document.ts'
import {
  createPolicy,
  deletePolicy,
  describePolicy,
  describePolicyVersion,
  findPolicy,
  findPolicySchema,
  isPolicyId,
  listPolicies,
  listPolicyVersions,
  PolicyNotFound,
  putPolicySchema,
  updatePolicy,
} from '#src/access/policies/policies.ts'
import { draftOf, replayBounds, replayPolicies, undecidedReasons } from '#src/access/policies/replay.ts'
import { tryPolicies } from '#src/access/policies/trial.ts'
import { refuseBeyond } from '#src/admin/bounds.ts'
import { cutPage, listOf, pageOf, readAfter } from './page.ts'
import { type AdminApiDeps, type AdminRoute, deleted, instant, route } from './route.ts'

export function policyRoutes({ database, doors, config }: AdminApiDeps): AdminRoute[] {
  return [
    route('get /policies', {
      scope: 'policies:read',
      name: 'listPolicies',
      summary: 'List policies',
      query: pageOf({ api: z.string().optional() }),
      answer: listOf(policy),
      async handle({ db, query: { after, limit, api } }) {
        const records = await listPolicies(db, { apiIdentifier: api, after: readAfter(after), limit: limit + 1 })
        return cutPage(records, limit, describePolicy, ({ id }) => id)
      },
    }),

    route('post /policies', {
      scope: 'policies:write',
      name: 'createPolicy',
      summary: 'Create a policy, as a draft or enforced',
      body: z.strictObject({
        api: text,
        name: text,
        text: text.meta({ description: 'Cedar' }),
        description: text.optional(),
        state: text.optional().meta({ description: 'draft or enforced' }),
      }),
      answer: policy,
      status: 201,
      once: true,
      handle: async ({ db, body: { api, ...input }, change }) =>
        describePolicy(await createPolicy(db, { apiIdentifier: api, ...input }, change)),
    }),

    // Before /policies/:id, which they would be.
    route('get /policies/schema', {
      scope: 'policies:read',
      name: 'readPolicySchema',
      summary: 'Read what policies of an API may speak of',
      query: z.strictObject({ api: text.default('') }),
      answer: policySchemaDocument.extend({ api: text, version: wholeVersion, actions: z.array(text) }),
      async handle({ db, query: { api } }) {
        const { declared, version, ground } = await findPolicySchema(db, api)
        return { api, version, ...declared, actions: [...ground.actions] }
      },
    }),

    route('put /policies/schema', {
      scope: 'policies:write',
      name: 'putPolicySchema',
      summary: 'Say what policies of an API may speak of',
      query: z.strictObject({ api: text.default('') }),
      body: policySchemaDocument.extend({ version: wholeVersion }),
      answer: policySchemaDocument.extend({ api: text, version: wholeVersion }),
      async handle({ db, query: { api }, body: { version, ...input }, change }) {
        const put = await putPolicySchema(db, api, version, input, change)
        return { api, version: put.version, ...put.declared }
      },
    }),

    // Changes nothing, so whoever may read the policies may try one.
    route('post /policies/try', {
      scope: 'policies:read',
      sensitive: false,
      name: 'tryPolicies',
      summary: 'Try drafts against questions: who would gain, who would lose',
      body: trialDocument,
      answer: z.strictObject({
        results: z.array(
          z.strictObject({ before: policyAnswer, after: policyAnswer, change: z.enum(['gains', 'loses', 'none']) }),
        ),
        gains: z.number(),
        loses: z.number(),
      }),
      async handle({ body: { api, drafts, questions }, change }) {
        const asked = questions.map((question) => toTrialQuestion(question, change.now))
        return tryPolicies(database, api, drafts, asked)
      },
    }),

    route('get /policies/:id', {
      scope: 'policies:read',
      name: 'readPolicy',
      summary: 'Read a policy with its versions; a deleted one has its versions left',
      answer: z.union([
        policy.extend({ versions: z.array(policyVersion) }),
        z.strictObject({ id: text, state: text, versions: z.array(policyVersion) }),
      ]),
      async handle({ db, id }) {
        const record = await findPolicy(db, id)
        const versions = (await listPolicyVersions(db, id)).map(describePolicyVersion)
        if (versions.length === 0) throw new PolicyNotFound(id)
        return record ? { ...describePolicy(record), versions } : { id, state: 'deleted', versions }
      },
    }),

    // Changes nothing; but it tells of receipts, which are for whoever may read those.
    route('post /policies/:id/replay', {
      scope: 'policies:read',
      sensitive: false,
      name: 'replayPolicy',
      summary:
        'Try a policy against the decisions of the last days: who would gain, who would lose. Needs audit:read, too',
      body: z.strictObject({
        text: text.optional().meta({
          description:
            'Cedar to try in its place. Without it: a draft as if it were enforced, an enforced one as if it were not.',
        }),
        days: z.int().min(1).max(replayBounds.days).default(replayBounds.usualDays),
        limit: z.int().min(1).max(replayBounds.perPage).default(replayBounds.usualPerPage).meta({
          description: 'How many receipts are read, newest first.',
        }),
        after: text.optional().meta({ description: 'The value of `next` in the page before.' }),
      }),
      answer: replayAnswer,
      async handle({ db, id, body: { text: other, days, limit, after }, caller, change }) {
        await refuseBeyond({ doors, caller }, ['audit:read'])
        const record = await findPolicy(db, id)
        if (!record) throw new PolicyNotFound(id)
        const since = new Date(change.now.getTime() - days * 86_400_000)
        const page = { since, limit, after }
        return {
          since,
          permittedShare: config.decisionReceiptsPermitted,
          ...(await replayPolicies(database, record.apiIdentifier, [draftOf(record, other)], page)),
        }
      },
    }),

    route('put /policies/:id', {
      scope: 'policies:write',
      name: 'changePolicy',
      summary: 'Change a policy',
      body: z.strictObject({
        version: wholeVersion.meta({ description: 'The version that you saw.' }),
        name: text.optional(),
        text: text.optional(),
        description: text.optional(),
        state: text.optional(),
      }),
      answer: policy,
      handle: async ({ db, id, body: { version, ...input }, change }) =>
        describePolicy(await updatePolicy(db, id, version, input, change)),
    }),

    route('put /policies/:id/state', {
      scope: 'policies:write',
      name: 'changePolicyState',
      summary: 'Enforce a policy, or make it a draft again',
      body: z.strictObject({ version: wholeVersion, state: text }),
      answer: policy,
      handle: async ({ db, id, body: { version, state }, change }) =>
        describePolicy(await updatePolicy(db, id, version, { state }, change)),
    }),

    route('delete /policies/:id', {
      scope: 'policies:write',
      name: 'deletePolicy',
      summary: 'Delete a policy; its versions stay',
      query: z.strictObject({
        version: z
          .string(versionProblem)
          .regex(/^[1-9]\d{0,8}$/, versionProblem)
          .transform(Number)
          .meta({ type: 'integer', description: 'The version that you saw.' }),
      }),
      answer: deleted,
      async handle({ db, id, query: { version }, change }) {
        if (!isPolicyId(id)) throw new PolicyNotFound(id)
        await deletePolicy(db, id, version, change)
        return { id, deleted: true }
      },
    }),
  ]
}

const versionProblem = 'version must be the version of the policy that you saw.'

const text = z.string()
const wholeVersion = z
  .number()
  .int()
  .min(0)
  .max(2 ** 31 - 1)
const policy = z
  .strictObject({
    id: text,
    api: text,
    name: text,
    description: text,
    text,
    effect: text.meta({ description: 'permit or forbid' }),
    state: text.meta({ description: 'draft or enforced' }),
    version: z.number(),
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'Policy' })
const policyVersion = z
  .strictObject({
    version: z.number(),
    name: text,
    description: text,
    text,
    state: text,
    changedAt: instant,
    changedBy: z.strictObject({ kind: text, id: text.nullable() }),
  })
  .meta({ id: 'PolicyVersion' })
const policyAnswer = z.strictObject({
  effect: z.enum(['permit', 'forbid', 'none']),
  policies: z.array(text).readonly(),
  errors: z.array(text).readonly(),
})
const entity = z.strictObject({ type: text, id: text })
const askedAgain = {
  id: text.meta({ description: 'Of the decision, as X-Decision-Id says.' }),
  at: instant,
  subject: entity,
  action: text,
  object: entity,
}
const decided = z.strictObject({
  allowed: z.boolean(),
  gate: text.nullable(),
  reason: text,
  policies: z.array(text).readonly(),
})
const changed = z.array(
  z.strictObject({
    ...askedAgain,
    before: decided.meta({ description: 'With the policies in force.' }),
    after: decided.meta({ description: 'With what is tried.' }),
  }),
)
const replayAnswer = z.strictObject({
  since: instant,
  permittedShare: z.number().meta({
    description:
      'Of how many yeses a receipt is kept (DECISION_RECEIPTS_PERMITTED): in this share who would lose is seen.',
  }),
  looked: z.strictObject({
    permitted: z.number(),
    refused: z.number(),
    withoutPolicies: z.number().meta({ description: 'Of both: never came as far as the policies.' }),
  }),
  unchanged: z.number(),
  changedSince: z.number().meta({
    description:
      'With the policies in force the answer is no longer the one of then: roles, relations or policies have changed.',
  }),
  gains: changed,
  loses: changed,
  undecided: z.array(z.strictObject({ ...askedAgain, why: z.enum(undecidedReasons), names: z.array(text).readonly() })),
  next: z.string().nullable(),
})
