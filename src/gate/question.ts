// The information model of AuthZEN (Authorization API 1.0, 5): subject, action, resource, context, read from JSON. Members that are not known
// here are passed over, as the specification asks (10.1.1); what is known must have its form.
import { z } from 'zod'

// What PostgreSQL cannot hold and no name needs.
const text = z
  .string()
  .min(1)
  .max(1000)
  .regex(/^[^\p{Cc}\p{Cs}]*$/u)
const properties = z.record(z.string(), z.unknown())

const subject = z.looseObject({ type: text, id: text, properties: properties.optional() })
const action = z.looseObject({ name: text, properties: properties.optional() })
const resource = z.looseObject({ type: text, id: text, properties: properties.optional() })
const context = z.record(z.string(), z.unknown())

export const evaluationShape = z.looseObject({ subject, action, resource, context: context.optional() })
export type EvaluationRequest = z.infer<typeof evaluationShape>

/** What a list of questions leaves to its defaults is up to each of them, and so is a mistake in it (7.2.1): its form is judged when it is
 *  asked. */
const part = z.looseObject({
  subject: z.unknown().optional(),
  action: z.unknown().optional(),
  resource: z.unknown().optional(),
  context: z.unknown().optional(),
})
export type EvaluationPart = z.infer<typeof part>

export const semantics = ['execute_all', 'deny_on_first_deny', 'permit_on_first_permit'] as const
export const evaluationsShape = part.extend({
  evaluations: z.array(part).max(200).optional(),
  options: z.looseObject({ evaluations_semantic: z.enum(semantics).optional() }).optional(),
})

const required = { subject: ['type', 'id'], action: ['name'], resource: ['type', 'id'] } as const

/** What an entry says counts as a whole; what it leaves out, and what it needs of something that it half says, comes from the defaults
 *  (7.1.1). */
export function withDefaults(entry: EvaluationPart, defaults: EvaluationPart): Record<string, unknown> {
  const named = Object.entries(required).map(([name, members]) => {
    const [own, given] = [entry[name], defaults[name]]
    if (!isObject(own) || !isObject(given)) return [name, own ?? given]
    const missing = members.filter((member) => own[member] === undefined && given[member] !== undefined)
    return [name, { ...own, ...Object.fromEntries(missing.map((member) => [member, given[member]])) }]
  })
  return { ...Object.fromEntries(named), context: entry.context ?? defaults.context }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** 8.2.1: `next_token` is what drafts of the specification called the token. */
const page = z
  .looseObject({
    token: z.string().max(4000).optional(),
    next_token: z.string().max(4000).optional(),
    limit: z.int().min(0).optional(),
    properties: properties.optional(),
  })
  .optional()
export type RequestedPage = z.infer<typeof page>

const withoutId = z.looseObject({ type: text, properties: properties.optional() })
export const subjectSearchShape = z.looseObject({
  subject: withoutId,
  action,
  resource,
  context: context.optional(),
  page,
})
export const resourceSearchShape = z.looseObject({
  subject,
  action,
  resource: withoutId,
  context: context.optional(),
  page,
  /** filter: not the ids, but what finds them (docs/access.md). */
  options: z.looseObject({ as: z.enum(['ids', 'filter']).optional() }).optional(),
})
export const actionSearchShape = z.looseObject({ subject, resource, context: context.optional(), page })
