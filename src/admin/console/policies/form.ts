// A new policy, and changing one. Its text is checked against what its API knows before it is kept; of two editors the second is told by
// the version that stood in the form.
import { createPolicy, listPolicyVersions, type PolicyRecord, updatePolicy } from '#src/access/policies/policies.ts'
import { listApis } from '#src/apis/apis.ts'
import { namesOf } from '#src/audit/names.ts'
import type { Form } from '#src/http/form.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import type { Choice } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'
import { readPolicy, versionOf } from './read.ts'

export type PolicyFormPage = {
  title: string
  input: Input
  /** Of a new one. */
  apis: readonly Choice[]
  /** Of one that is there. */
  policy: { href: string; api: string; effect: string; enforced: boolean; version: number } | undefined
  versions: readonly Version[]
  flaws: readonly Flaw[]
}

type Input = { api: string; name: string; description: string; text: string; version: number }
type Version = { href: string; version: number; state: string; by: string; at: Moment; current: boolean }

const page = template<PolicyFormPage>('admin/console/policy-form')

export function newPolicyPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/policies/new',
    section: 'policies',
    scope: 'policies:write',
    lines: ['text'],
    show: (request) => show(request, { api: '', name: '', description: '', text: '', version: 0 }, [], 200),
    async submit(request, form) {
      const input = readInput(form)
      const { api, name, description, text } = input
      const result = await attempt(() =>
        createPolicy(prisma, { apiIdentifier: api, name, description, text }, request.change),
      )
      if (!result.ok) return show(request, input, result.flaws, result.status)
      goOn(request.ctx, `/admin/policies/${result.value.id}`, 'created')
    },
  }

  async function show(request: ConsoleRequest, input: Input, flaws: readonly Flaw[], status: number) {
    const apis = (await listApis(prisma, { limit: 200 }))
      .filter(({ builtIn }) => !builtIn)
      .map(({ identifier, name }) => ({ value: identifier, label: name, selected: identifier === input.api }))
    const title = request.words.t('console.policies.new')
    render(
      request,
      page,
      { title, input, apis, policy: undefined, versions: [], flaws },
      { section: 'policies', status },
    )
  }
}

export function policyPage({ database, render }: PageDeps): ConsolePage {
  const { prisma } = database
  return {
    path: '/admin/policies/:id',
    section: 'policies',
    scope: 'policies:read',
    writes: 'policies:write',
    sensitive: true,
    lines: ['text'],
    async show(request) {
      const policy = await readPolicy(prisma, request)
      const { apiIdentifier: api, name, description, text, version } = policy
      await show(request, policy, { input: { api, name, description, text, version }, flaws: [] }, 200)
    },
    async submit(request, form) {
      const policy = await readPolicy(prisma, request)
      const input = { ...readInput(form), api: policy.apiIdentifier }
      const { name, description, text, version } = input
      const result = await attempt(() =>
        updatePolicy(prisma, policy.id, version, { name, description, text }, request.change),
      )
      if (!result.ok) return show(request, policy, { input, flaws: result.flaws }, result.status)
      goOn(request.ctx, request.ctx.path, 'saved')
    },
  }

  async function show(
    request: ConsoleRequest,
    { id, name, apiIdentifier, effect, state, version }: PolicyRecord,
    { input, flaws }: { input: Input; flaws: readonly Flaw[] },
    status: number,
  ) {
    const href = `/admin/policies/${id}`
    const policy = { href, api: apiIdentifier, effect, enforced: state === 'enforced', version }
    const versions = await versionsOf(request, id, version)
    render(request, page, { title: name, input, apis: [], policy, versions, flaws }, { section: 'policies', status })
  }

  async function versionsOf({ words, now, person, held }: ConsoleRequest, id: string, current: number) {
    const records = (await listPolicyVersions(prisma, id)).slice(0, 100)
    // Addresses of people are for those who may see people.
    const actors = records.map(({ actorKind, actorId }) => ({ actorKind, actorId, ...nothingElse }))
    const names = await namesOf(database, held.has('users:read') ? actors : [])
    return records.map(
      ({ version, state, changedAt, actorKind, actorId }): Version => ({
        href: `/admin/policies/${id}/versions/${version}`,
        ...{ version, state },
        by: names.of(actorKind, actorId) ?? [actorKind, actorId].filter(Boolean).join(' '),
        at: moment(words, changedAt, now, person.zoneinfo),
        current: version === current,
      }),
    )
  }
}

const nothingElse = { targetKind: null, targetId: null, clientId: null }

function readInput(form: Form): Input {
  const text = (name: string) => form.get(name)?.trim() ?? ''
  const [api, name, description] = [text('api'), text('name'), text('description')]
  return { api, name, description, text: form.get('text') ?? '', version: versionOf(form) }
}
