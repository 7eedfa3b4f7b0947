// May they? The question that gateways and APIs ask, asked by hand: the same decision, with the gate that stopped it and what would help. A
// subject that is only named shows no credential, so scopes are not asked for.
import { type ActionQuestion, decideAction } from '#src/access/decide.ts'
import { fixOf } from '#src/access/gates.ts'
import { type Holdings, holdingsOf } from '#src/access/holdings.ts'
import { type ApiRecord, findApi, listApis, objectsOf } from '#src/apis/apis.ts'
import { template } from '#src/http/render.ts'
import { type Choice, choices, textOf } from '../lists.ts'
import type { ConsolePage, PageDeps } from '../page.ts'
import { findSubject, type Named } from '../subjects.ts'

export type TesterPage = {
  input: Input
  apis: readonly Choice[]
  /** Actions that the API knows, to choose from while typing. */
  actions: readonly string[]
  unknown: 'subject' | 'api' | undefined
  answer:
    | {
        allowed: boolean
        subject: string
        gate: string | null
        reason: string
        fix: string | undefined
        policies: readonly string[]
        roles: readonly string[]
        permissions: readonly string[]
      }
    | undefined
}

type Input = { subject: string; api: string; action: string; type: string; id: string }

const page = template<TesterPage>('admin/console/tester')

export function testerPage({ database, policiesOf, now, render }: PageDeps): ConsolePage {
  const { prisma } = database
  return {
    path: '/admin/roles/test',
    section: 'roles',
    scope: 'roles:read',
    async show(request) {
      const { ctx } = request
      const text = (name: string) => textOf(ctx, name)
      const input: Input = {
        subject: text('subject'),
        api: text('api'),
        action: text('action'),
        type: text('type'),
        id: text('id'),
      }
      const apis = await listApis(prisma, { limit: 200 })
      const api = input.api ? await findApi(prisma, input.api) : apis[0]
      const subject = await findSubject(prisma, input.subject)
      const asked = input.subject !== '' && input.action !== ''
      const answer = asked && subject && api ? await decide(subject, api, input, { address: ctx.ip }) : undefined
      render(
        request,
        page,
        {
          input,
          apis: choices(
            apis.map(({ identifier, name }) => [identifier, name]),
            input.api,
            request.words.t('console.tester.chooseApi'),
          ).filter(({ value }) => value !== '' || input.api === ''),
          actions: actionsOf(apis),
          unknown: asked ? (!subject ? 'subject' : !api ? 'api' : undefined) : undefined,
          answer,
        },
        { section: 'roles' },
      )
    },
  }

  async function decide(
    subject: Named,
    api: ApiRecord,
    { action, type, id }: Input,
    { address }: { address: string },
  ): Promise<TesterPage['answer']> {
    const question: ActionQuestion = {
      api,
      action,
      object: { type: type || 'api', id: id || api.identifier },
      context: {},
      address,
    }
    const [decision, held] = await Promise.all([
      decideAction({ database, now, policiesOf }, subject, question),
      holdingsOf(database, subject, api.identifier),
    ])
    return {
      allowed: decision.allowed,
      subject: subject.name,
      gate: decision.gate,
      reason: decision.reason.replaceAll('_', ' '),
      fix: decision.allowed ? undefined : fixOf(decision.reason, decision.needs),
      policies: decision.policies,
      ...holdingLines(held),
    }
  }
}

const holdingLines = ({ roles, permissions }: Holdings) => ({ roles, permissions: [...permissions].sort() })

function actionsOf(apis: readonly ApiRecord[]): string[] {
  const names = apis.flatMap((api) => [
    ...api.scopes.map(({ name }) => name),
    ...Object.values(objectsOf(api)).flatMap((relations) => Object.values(relations).flat()),
  ])
  return [...new Set(names)].sort()
}
