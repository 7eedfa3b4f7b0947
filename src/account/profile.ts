// Name, language and time zone. The address a person signs in with is not changed here.
import type { Form } from '#src/http/form.ts'
import { languages, type MessageKey } from '#src/http/i18n.ts'
import { timeZones } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { checkText } from '#src/refusal.ts'
import { type UserRecord, updateUser } from '#src/users/users.ts'
import { type AccountDeps, type AccountPage, type AccountRequest, changeBy, goOn, renderAccount } from './page.ts'

export type ProfilePage = {
  email: string
  verified: boolean
  fields: readonly { name: Field; label: string; value: string; autocomplete: string; error: string | undefined }[]
  focus: Field | undefined
  locales: readonly Option[]
  zones: readonly Option[]
}
type Option = { value: string; label: string; selected: boolean }

const textFields = { name: 'name', given_name: 'givenName', family_name: 'familyName' } as const
type Field = keyof typeof textFields
const autocomplete = { name: 'name', given_name: 'given-name', family_name: 'family-name' } as const
type Input = Record<Field | 'locale' | 'zoneinfo', string>
type Wrong = Partial<Record<Field, MessageKey>>

const profile = template<ProfilePage>('account/profile')
const fieldNames = Object.keys(textFields) as Field[]

export function profilePage({ database: { prisma }, renderer }: AccountDeps): AccountPage {
  return {
    path: '/account/profile',
    section: 'profile',

    async show(request) {
      render(request, inputOf(request.person), {}, 200)
    },

    async submit(request, form) {
      const input = readInput(form, request.person)
      const wrong: Wrong = {}
      for (const field of fieldNames)
        if (input[field] && checkText(field, input[field], 128).length > 0) wrong[field] = 'account.profile.error.text'
      if (Object.keys(wrong).length > 0) return render(request, input, wrong, 422)
      await updateUser(
        prisma,
        request.person.id,
        {
          name: input.name || null,
          givenName: input.given_name || null,
          familyName: input.family_name || null,
          locale: input.locale || null,
          zoneinfo: input.zoneinfo || null,
        },
        changeBy(request),
      )
      goOn(request.ctx, '/account/profile', 'profile')
    },
  }

  function render(request: AccountRequest, input: Input, wrong: Wrong, status: number): void {
    const { person, words } = request
    const { t } = words
    renderAccount(
      renderer,
      request,
      profile,
      {
        email: person.email,
        verified: person.emailVerifiedAt !== null,
        fields: fieldNames.map((name) => ({
          name,
          label: t(`account.profile.${name}`),
          value: input[name],
          autocomplete: autocomplete[name],
          error: wrong[name] && t(wrong[name]),
        })),
        focus: fieldNames.find((name) => wrong[name]),
        locales: localeOptions(input.locale, person.locale).map(([value, label]) => ({
          value,
          label: label || t('account.profile.noChoice'),
          selected: value === input.locale,
        })),
        zones: zoneOptions(input.zoneinfo, t('account.profile.noChoice')),
      },
      { section: 'profile', status },
    )
  }
}

const inputOf = (person: UserRecord): Input => ({
  name: person.name ?? '',
  given_name: person.givenName ?? '',
  family_name: person.familyName ?? '',
  locale: person.locale ?? '',
  zoneinfo: person.zoneinfo ?? '',
})

/** A choice that the page did not offer counts as the one that was there. */
function readInput(form: Form, person: UserRecord): Input {
  const before = inputOf(person)
  const text = (name: keyof Input) => form.get(name)?.trim() ?? before[name]
  const choice = (name: 'locale' | 'zoneinfo', offered: readonly string[]) =>
    offered.includes(text(name)) ? text(name) : before[name]
  return {
    name: text('name'),
    given_name: text('given_name'),
    family_name: text('family_name'),
    locale: choice(
      'locale',
      localeOptions('', null).map(([value]) => value),
    ),
    zoneinfo: choice('zoneinfo', ['', ...timeZones()]),
  }
}

/** An administrator may have set one that the pages do not speak: it stays until something else is chosen. */
function localeOptions(chosen: string, stored: string | null): [value: string, label: string][] {
  const offered: [string, string][] = [['', ''], ...languages.map(({ code, name }): [string, string] => [code, name])]
  for (const other of [chosen, stored ?? ''])
    if (!offered.some(([value]) => value === other)) offered.push([other, other])
  return offered
}

function zoneOptions(chosen: string, none: string): Option[] {
  const all = chosen && !timeZones().includes(chosen) ? [chosen, ...timeZones()] : timeZones()
  return [['', none] as const, ...all.map((zone) => [zone, zone] as const)].map(([value, label]) => ({
    value,
    label,
    selected: value === chosen,
  }))
}
