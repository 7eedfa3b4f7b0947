// A new person, and changing one. Nobody sets a password for somebody else here: whoever is created chooses their own by "Forgot password?".
import { listRoles } from '#src/access/roles.ts'
import { refuseBeyondPerson, refuseBeyondRoles } from '#src/admin/bounds.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { atomically } from '#src/db/transaction.ts'
import { fingerprint } from '#src/editing.ts'
import type { Form } from '#src/http/form.ts'
import { languages } from '#src/http/i18n.ts'
import { template } from '#src/http/render.ts'
import { queueNotice } from '#src/mail/notices.ts'
import type { Flaw } from '#src/refusal.ts'
import { patchUser } from '#src/users/editing.ts'
import { createUser, describeUser, InvalidUser, type UserRecord } from '#src/users/users.ts'
import { type Choice, choices } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'
import { readPerson } from './read.ts'

export type PersonFormPage = {
  title: string
  back: { href: string; label: string }
  /** What the editor saw; '' for somebody new. */
  seen: string
  input: Input
  locales: readonly Choice[]
  roles: readonly { name: string; description: string; checked: boolean; beyond: boolean }[]
  flaws: readonly Flaw[]
}

type Input = {
  email: string
  emailVerified: boolean
  name: string
  givenName: string
  familyName: string
  locale: string
  attributes: string
  roles: readonly string[]
}

const page = template<PersonFormPage>('admin/console/person-form')

export function newPersonPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/people/new',
    section: 'people',
    scope: 'users:write',
    sensitive: true,
    repeatable: ['roles'],
    lines: ['attributes'],
    show: (request) => show(request, empty, [], 200),
    async submit(request, form) {
      const input = readInput(form)
      const { bounds, change, ctx } = request
      const result = await attempt(async () => {
        await refuseBeyondRoles(bounds, prisma, input.roles)
        return createUser(prisma, { email: input.email, ...settingsOf(input) }, change)
      })
      if (!result.ok) return show(request, input, result.flaws, result.status)
      goOn(ctx, `/admin/people/${result.value.id}`, 'created')
    },
  }

  async function show(request: ConsoleRequest, input: Input, flaws: readonly Flaw[], status: number) {
    const { t } = request.words
    render(
      request,
      page,
      {
        title: t('console.people.new'),
        back: { href: '/admin/people', label: t('console.people.title') },
        seen: '',
        ...(await shared(prisma, request, input)),
        flaws,
      },
      { section: 'people', status },
    )
  }
}

export function editPersonPage({ database: { prisma }, secretKeys, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/people/:id/edit',
    section: 'people',
    scope: 'users:write',
    sensitive: true,
    repeatable: ['roles'],
    lines: ['attributes'],
    async show(request) {
      const user = await readPerson(prisma, request)
      await show(request, user, { input: inputOf(user), seen: fingerprint(describeUser(user)), flaws: [] }, 200)
    },
    async submit(request, form) {
      const user = await readPerson(prisma, request)
      const { bounds, change, ctx } = request
      const input = readInput(form)
      const seen = form.get('seen') ?? ''
      const result = await attempt(async () => {
        await refuseBeyondPerson(bounds, prisma, user.id)
        await refuseBeyondRoles(bounds, prisma, input.roles)
        const { emailVerified, ...settings } = settingsOf(input)
        const verified = emailVerified === (user.emailVerifiedAt !== null) ? {} : { emailVerified }
        await atomically(prisma, async (tx) => {
          const after = await patchUser(tx, user.id, { email: input.email, ...settings, ...verified }, change, seen)
          // To the address that was: whoever takes an account over cannot keep its owner from hearing.
          if (after.emailKey !== user.emailKey)
            await queueNotice(tx, 'emailChanged', user, change.origin ?? {}, { secretKeys, now: change.now })
        })
      })
      if (!result.ok) return show(request, user, { input, seen, flaws: result.flaws }, result.status)
      goOn(ctx, `/admin/people/${user.id}`, 'saved')
    },
  }

  async function show(
    request: ConsoleRequest,
    user: UserRecord,
    { input, seen, flaws }: { input: Input; seen: string; flaws: readonly Flaw[] },
    status: number,
  ) {
    render(
      request,
      page,
      {
        title: request.words.t('console.people.edit', { person: user.name ?? user.email }),
        back: { href: `/admin/people/${user.id}`, label: user.name ?? user.email },
        seen,
        ...(await shared(prisma, request, input)),
        flaws,
      },
      { section: 'people', status },
    )
  }
}

const empty: Input = {
  ...{ email: '', emailVerified: false, name: '', givenName: '', familyName: '', locale: '', attributes: '' },
  roles: [],
}

function inputOf(user: UserRecord): Input {
  const attributes = Object.keys(user.attributes ?? {}).length > 0 ? JSON.stringify(user.attributes, null, 2) : ''
  return {
    email: user.email,
    emailVerified: user.emailVerifiedAt !== null,
    name: user.name ?? '',
    givenName: user.givenName ?? '',
    familyName: user.familyName ?? '',
    locale: user.locale ?? '',
    attributes,
    roles: user.roles.map(({ roleName }) => roleName),
  }
}

function readInput(form: Form): Input {
  const text = (name: string) => form.get(name)?.trim() ?? ''
  return {
    email: text('email'),
    emailVerified: form.get('emailVerified') === 'yes',
    name: text('name'),
    givenName: text('givenName'),
    familyName: text('familyName'),
    locale: text('locale'),
    attributes: text('attributes'),
    roles: form.all('roles'),
  }
}

/** @throws InvalidUser */
function settingsOf({ emailVerified, name, givenName, familyName, locale, attributes, roles }: Input) {
  return {
    emailVerified,
    name: name || null,
    givenName: givenName || null,
    familyName: familyName || null,
    locale: locale || null,
    attributes: readAttributes(attributes),
    roles: [...roles],
  }
}

function readAttributes(text: string): Record<string, unknown> {
  if (text === '') return {}
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  } catch {
    // said below
  }
  throw new InvalidUser([
    { field: 'attributes', problem: 'is not a JSON object', fix: 'Write something like {"department": "sales"}.' },
  ])
}

async function shared(
  prisma: PageDeps['database']['prisma'],
  { words, held }: ConsoleRequest,
  input: Input,
): Promise<Pick<PersonFormPage, 'input' | 'locales' | 'roles'>> {
  const beyond = (permission: string) => Object.hasOwn(ownScopes, permission) && !held.has(permission)
  const roles = await listRoles(prisma)
  return {
    input,
    locales: choices(
      languages.map(({ code, name }) => [code, name]),
      input.locale,
      words.t('account.profile.noChoice'),
    ),
    roles: roles.map((role) => ({
      name: role.name,
      description: role.description ?? '',
      checked: input.roles.includes(role.name),
      beyond: role.permissions.some(({ permission }) => beyond(permission)),
    })),
  }
}
