// Putting a policy in force, making it a draft again, and deleting it: each on a page that says what it means.
import { deletePolicy, type PolicyRecord, updatePolicy } from '#src/access/policies/policies.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'
import { readPolicy, versionOf } from './read.ts'

export type PolicyEndingPage = {
  /** What the button does. */
  ending: 'enforce' | 'draft' | 'delete'
  name: string
  href: string
  version: number
  text: string
  flaws: readonly Flaw[]
}

const page = template<PolicyEndingPage>('admin/console/policy-ending')
const common = {
  section: 'policies',
  scope: 'policies:read',
  writes: 'policies:write',
  sensitive: true,
} as const

export function policyEndings({ database: { prisma }, render }: PageDeps): ConsolePage[] {
  return [
    {
      ...common,
      path: '/admin/policies/:id/state',
      async show(request) {
        const policy = await readPolicy(prisma, request)
        show(request, policy, turnOf(policy), [], 200)
      },
      async submit(request, form) {
        const policy = await readPolicy(prisma, request)
        // What the button said, not the opposite of what is the case by now.
        const state = form.get('decision') === 'enforce' ? 'enforced' : 'draft'
        const result = await attempt(() => updatePolicy(prisma, policy.id, versionOf(form), { state }, request.change))
        if (!result.ok) return show(request, policy, turnOf(policy), result.flaws, result.status)
        goOn(request.ctx, `/admin/policies/${policy.id}`, 'saved')
      },
    },
    {
      ...common,
      path: '/admin/policies/:id/delete',
      async show(request) {
        show(request, await readPolicy(prisma, request), 'delete', [], 200)
      },
      async submit(request, form) {
        const policy = await readPolicy(prisma, request)
        const result = await attempt(() => deletePolicy(prisma, policy.id, versionOf(form), request.change))
        if (!result.ok) return show(request, policy, 'delete', result.flaws, result.status)
        goOn(request.ctx, '/admin/policies', 'deleted')
      },
    },
  ]

  function show(
    request: ConsoleRequest,
    { id, name, version, text }: PolicyRecord,
    ending: PolicyEndingPage['ending'],
    flaws: readonly Flaw[],
    status: number,
  ) {
    const shown = { ending, name, href: `/admin/policies/${id}`, version, text, flaws }
    render(request, page, shown, { section: 'policies', status })
  }
}

const turnOf = ({ state }: PolicyRecord) => (state === 'enforced' ? 'draft' : 'enforce')
