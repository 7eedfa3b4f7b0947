// POST /access/v1/evaluation and /access/v1/evaluations (AuthZEN 6 and 7). A "no" is 200 with `decision: false`; why is in the receipt, whose
// id stands in `context.id`, and for operators only.
import { randomUUID } from 'node:crypto'
import type { Context } from 'koa'
import { asksPolicies, keepFacts } from '#src/access/policies/facts.ts'
import type { PolicyGround } from '#src/access/policies/schema.ts'
import { checkShape, describeIssues, readJson } from '#src/http/json-body.ts'
import { requestOf } from '#src/http/request-context.ts'
import type { Receipts } from '#src/oauth/receipts.ts'
import { type EvaluatorDeps, evaluate } from './evaluator.ts'
import {
  type EvaluationPart,
  type EvaluationRequest,
  evaluationShape,
  evaluationsShape,
  withDefaults,
} from './question.ts'

type Answer = { decision: boolean; context?: { id?: string; error?: { status: number; message: string } } }

/** @param groundOf what policies of the API may speak of */
export type EvaluationDeps = EvaluatorDeps & {
  receipts: Receipts
  groundOf: (api: string) => PolicyGround | undefined
}

export async function answerEvaluation(deps: EvaluationDeps, ctx: Context): Promise<void> {
  ctx.body = await answerOne(deps, ctx, await readJson(ctx, evaluationShape), requestOf(ctx).requestId)
}

export async function answerEvaluations(deps: EvaluationDeps, ctx: Context): Promise<void> {
  const request = await readJson(ctx, evaluationsShape)
  const { evaluations = [], options } = request
  // Without an array, or with an empty one, it is a single evaluation (7.1), and its mistakes are the request's.
  if (evaluations.length === 0) {
    ctx.body = await answerOne(deps, ctx, checkShape(request, evaluationShape), requestOf(ctx).requestId)
    return
  }
  const semantic = options?.evaluations_semantic ?? 'execute_all'
  if (semantic === 'execute_all') {
    ctx.body = { evaluations: await Promise.all(evaluations.map((entry) => answerEntry(deps, ctx, entry, request))) }
    return
  }
  const last = semantic === 'permit_on_first_permit'
  const answers: Answer[] = []
  for (const entry of evaluations) {
    const answer = await answerEntry(deps, ctx, entry, request)
    answers.push(answer)
    if (answer.decision === last) break
  }
  ctx.body = { evaluations: answers }
}

/** What is wrong with one entry is an error of this entry alone (7.2.1): closed. */
async function answerEntry(
  deps: EvaluationDeps,
  ctx: Context,
  entry: EvaluationPart,
  defaults: EvaluationPart,
): Promise<Answer> {
  const asked = evaluationShape.safeParse(withDefaults(entry, defaults))
  if (asked.success) return answerOne(deps, ctx, asked.data, randomUUID())
  return { decision: false, context: { error: { status: 400, message: describeIssues(asked.error) } } }
}

async function answerOne(deps: EvaluationDeps, ctx: Context, request: EvaluationRequest, id: string): Promise<Answer> {
  const { decision, subject, api, owner, question } = await evaluate(deps, request)
  const { type, id: objectId } = request.resource
  deps.receipts.write(
    ctx,
    decision,
    {
      ...{
        subject,
        clientId: owner,
        api: api?.identifier,
        action: request.action.name,
        object: { type, id: objectId },
      },
      ...(subject && question && asksPolicies(decision) && { facts: () => keepFacts(deps, subject, question) }),
    },
    { id },
  )
  return decision.allowed ? { decision: true } : { decision: false, context: { id } }
}
