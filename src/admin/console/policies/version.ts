// What a policy said once. Versions stay when the policy is deleted: receipts of decisions name it.
import { listPolicyVersions, PolicyNotFound } from '#src/access/policies/policies.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import type { ConsolePage, PageDeps } from '../page.ts'

export type PolicyVersionPage = {
  title: string
  back: { href: string; label: string }
  description: string
  state: string
  at: Moment
  text: string
}

const page = template<PolicyVersionPage>('admin/console/policy-version')

export function policyVersionPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/policies/:id/versions/:version',
    section: 'policies',
    scope: 'policies:read',
    async show(request) {
      const { ctx, words, now, person } = request
      const id = String(ctx.params.id)
      const versions = await listPolicyVersions(prisma, id)
      const found = versions.find(({ version }) => String(version) === ctx.params.version)
      if (!found) throw new PolicyNotFound(id)
      const { name, version, description, state, text, changedAt } = found
      const gone = versions[0]?.state === 'deleted'
      render(
        request,
        page,
        {
          title: words.t('console.policies.versionOf', { name, version }),
          back: gone
            ? { href: '/admin/policies', label: words.t('console.policies.title') }
            : { href: `/admin/policies/${id}`, label: versions[0]?.name ?? name },
          ...{ description, state, text },
          at: moment(words, changedAt, now, person.zoneinfo),
        },
        { section: 'policies' },
      )
    },
  }
}
