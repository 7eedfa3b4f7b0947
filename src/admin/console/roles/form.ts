// A new role, changing one, and deleting one: who holds it is shown first.
import { patchRole, removeRole, roleDependents } from '#src/access/role-editing.ts'
import { createRole, describeRole, findRole, ownerRole, RoleNotFound, type RoleRecord } from '#src/access/roles.ts'
import { refuseBeyond, refuseBeyondRoles } from '#src/admin/bounds.ts'
import { listApis } from '#src/apis/apis.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { fingerprint } from '#src/editing.ts'
import type { Form } from '#src/http/form.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { type Choice, choices } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'

export type RoleFormPage = {
  title: string
  /** What the editor saw; '' for a new one. */
  seen: string
  fixed: boolean
  input: Input
  secondFactors: readonly Choice[]
  apis: readonly Choice[]
  groups: readonly {
    name: string
    scopes: readonly { name: string; description: string; checked: boolean; beyond: boolean }[]
  }[]
  dependents: readonly { label: string; count: number }[]
  deletion: string | undefined
  flaws: readonly Flaw[]
}

type Input = { name: string; description: string; permissions: readonly string[]; secondFactor: string; api: string }

const page = template<RoleFormPage>('admin/console/role-form')
const deletePage = template<{
  name: string
  back: { href: string; label: string }
  dependents: RoleFormPage['dependents']
  flaws: readonly Flaw[]
}>('admin/console/role-delete')
const most = 200

export function newRolePage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/roles/new',
    section: 'roles',
    scope: 'roles:write',
    sensitive: true,
    repeatable: ['permissions'],
    show: (request) =>
      show(request, { name: '', description: '', permissions: [], secondFactor: 'optional', api: '' }, [], 200),
    async submit(request, form) {
      const input = readInput(form)
      const { bounds, change, ctx } = request
      const result = await attempt(async () => {
        await refuseBeyond(bounds, input.permissions)
        await createRole(prisma, input.name, settingsOf(input), change)
      })
      if (!result.ok) return show(request, input, result.flaws, result.status)
      goOn(ctx, `/admin/roles/${encodeURIComponent(input.name)}`, 'created')
    },
  }

  async function show(request: ConsoleRequest, input: Input, flaws: readonly Flaw[], status: number) {
    const title = request.words.t('console.roles.new')
    const shown = { title, seen: '', fixed: false, dependents: [], deletion: undefined }
    render(
      request,
      page,
      { ...shown, ...(await offered(prisma, request, input)), input, flaws },
      { section: 'roles', status },
    )
  }
}

export function rolePage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/roles/:name',
    section: 'roles',
    scope: 'roles:read',
    writes: 'roles:write',
    sensitive: true,
    repeatable: ['permissions'],
    async show(request) {
      const role = await readRole(prisma, request)
      await show(request, role, { input: inputOf(role), seen: fingerprint(describeRole(role)), flaws: [] }, 200)
    },
    async submit(request, form) {
      const role = await readRole(prisma, request)
      const { bounds, change, ctx } = request
      const input = { ...readInput(form), name: role.name }
      const seen = form.get('seen') ?? ''
      const result = await attempt(async () => {
        await refuseBeyondRoles(bounds, prisma, [role.name])
        await refuseBeyond(bounds, input.permissions)
        const { api, ...settings } = settingsOf(input)
        await patchRole(prisma, role.name, { ...settings, api: api ?? null }, change, seen)
      })
      if (!result.ok) return show(request, role, { input, seen, flaws: result.flaws }, result.status)
      goOn(ctx, ctx.path, 'saved')
    },
  }

  async function show(
    request: ConsoleRequest,
    role: RoleRecord,
    { input, seen, flaws }: { input: Input; seen: string; flaws: readonly Flaw[] },
    status: number,
  ) {
    const fixed = role.name === ownerRole
    render(
      request,
      page,
      {
        title: role.name,
        ...{ seen, fixed, input, flaws },
        ...(await offered(prisma, request, input)),
        dependents: await dependentLines(prisma, request, role.name),
        deletion: fixed ? undefined : `${request.ctx.path}/delete`,
      },
      { section: 'roles', status },
    )
  }
}

export function deleteRolePage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/roles/:name/delete',
    section: 'roles',
    scope: 'roles:read',
    writes: 'roles:write',
    sensitive: true,
    show: (request) => show(request, [], 200),
    async submit(request) {
      const { name } = await readRole(prisma, request)
      const result = await attempt(async () => {
        await refuseBeyondRoles(request.bounds, prisma, [name])
        await removeRole(prisma, name, { cascade: true }, request.change)
      })
      if (!result.ok) return show(request, result.flaws, result.status)
      goOn(request.ctx, '/admin/roles', 'deleted')
    },
  }

  async function show(request: ConsoleRequest, flaws: readonly Flaw[], status: number) {
    const { name } = await readRole(prisma, request)
    render(
      request,
      deletePage,
      {
        name,
        back: { href: `/admin/roles/${encodeURIComponent(name)}`, label: name },
        dependents: await dependentLines(prisma, request, name),
        flaws,
      },
      { section: 'roles', status },
    )
  }
}

async function readRole(prisma: PageDeps['database']['prisma'], { ctx }: ConsoleRequest): Promise<RoleRecord> {
  const name = String(ctx.params.name)
  const role = await findRole(prisma, name)
  if (!role) throw new RoleNotFound(name)
  return role
}

async function dependentLines(
  prisma: PageDeps['database']['prisma'],
  { words: { t } }: ConsoleRequest,
  name: string,
): Promise<RoleFormPage['dependents']> {
  const { people = 0, clients = 0, routes = 0 } = await roleDependents(prisma, name)
  return [
    { label: t('console.people.title'), count: people },
    { label: t('console.applications.title'), count: clients },
    { label: t('console.roles.routes'), count: routes },
  ]
}

const inputOf = ({ name, description, permissions, secondFactor, apiIdentifier }: RoleRecord): Input => ({
  name,
  description: description ?? '',
  permissions: permissions.map(({ permission }) => permission),
  secondFactor,
  api: apiIdentifier ?? '',
})

function readInput(form: Form): Input {
  const text = (name: string) => form.get(name)?.trim() ?? ''
  return {
    name: text('name'),
    description: text('description'),
    permissions: form.all('permissions'),
    secondFactor: text('secondFactor'),
    api: text('api'),
  }
}

const settingsOf = ({ description, permissions, secondFactor, api }: Input) => ({
  description,
  permissions: [...permissions],
  secondFactor,
  api: api || undefined,
})

/** Every scope of every API, and what the role permits although no API has it. */
async function offered(
  prisma: PageDeps['database']['prisma'],
  { words: { t }, held }: ConsoleRequest,
  input: Input,
): Promise<Pick<RoleFormPage, 'groups' | 'apis' | 'secondFactors'>> {
  const apis = await listApis(prisma, { limit: most })
  const known = new Set(apis.flatMap(({ scopes }) => scopes.map(({ name }) => name)))
  const others = input.permissions.filter((permission) => !known.has(permission))
  const scopeOf = (name: string, description: string) => ({
    name,
    description,
    checked: input.permissions.includes(name),
    beyond: Object.hasOwn(ownScopes, name) && !held.has(name),
  })
  return {
    groups: [
      ...apis
        .filter(({ scopes }) => scopes.length > 0)
        .map(({ name, scopes }) => ({
          name,
          scopes: scopes.map((scope) => scopeOf(scope.name, scope.description)),
        })),
      ...(others.length > 0
        ? [{ name: t('console.roles.others'), scopes: others.map((name) => scopeOf(name, '')) }]
        : []),
    ],
    apis: choices(
      apis.map(({ identifier, name }) => [identifier, name]),
      input.api,
      t('console.roles.allApis'),
    ),
    secondFactors: [
      ['optional', t('console.roles.factorOptional')] as const,
      ['required', t('console.roles.factorRequired')] as const,
    ].map(([value, label]) => ({ value, label, selected: value === input.secondFactor })),
  }
}
