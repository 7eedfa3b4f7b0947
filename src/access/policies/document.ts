// Policies and questions as JSON, one shape for the admin API and the command line: what is not named here is refused, because a misspelt
// `groups` that was ignored would make a trial say that nobody loses anything.
import { z } from 'zod'
import type { TrialQuestion } from './trial.ts'

const record = z.record(z.string(), z.unknown())
const entity = { type: z.string(), id: z.string() }
const entities = z.array(z.strictObject(entity))

/** @param context.now where it is left out, the time of the trial. */
const question = z.strictObject({
  principal: z.strictObject({
    kind: z.enum(['user', 'client']),
    id: z.string(),
    attributes: record.optional(),
    emailVerified: z.boolean().optional(),
    roles: z.array(z.string()).optional(),
    groups: z.array(z.string()).optional(),
  }),
  action: z.string(),
  resource: z.strictObject({
    ...entity,
    relations: z.record(z.string(), entities).optional(),
    parents: entities.optional(),
    properties: record.optional(),
  }),
  context: z
    .strictObject({
      now: z.iso.datetime({ offset: true }).optional(),
      address: z.string().optional(),
      acr: z.string().optional(),
      amr: z.array(z.string()).optional(),
      authAge: z.number().optional(),
      credential: z.string().optional(),
      properties: record.optional(),
      subjectProperties: record.optional(),
      actionProperties: record.optional(),
    })
    .optional(),
  granted: z.boolean().optional(),
})

export const trialDocument = z.strictObject({
  api: z.string(),
  drafts: z.array(z.strictObject({ name: z.string(), text: z.string().optional() })).min(1),
  questions: z.array(question),
})

export const policySchemaDocument = z.strictObject({
  attributes: z.string().optional(),
  context: z.string().optional(),
  subject: z.string().optional(),
  action: z.string().optional(),
  objects: z
    .record(
      z.string(),
      z.strictObject({
        relations: z.record(z.string(), z.string()).optional(),
        properties: z.string().optional(),
      }),
    )
    .optional(),
})

export function toTrialQuestion({ context = {}, ...rest }: z.infer<typeof question>, now: Date): TrialQuestion {
  return { ...rest, context: { ...context, now: context.now === undefined ? now : new Date(context.now) } }
}
