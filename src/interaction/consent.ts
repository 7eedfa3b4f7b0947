// The consent screen: which application wants what from whom, in words. What is optional can be left out; what was not asked
// cannot be given.
import { createHash } from 'node:crypto'
import type { Context } from 'koa'
import { type Form, readForm } from '#src/http/form.ts'
import { HttpError } from '#src/http/http-error.ts'
import type { MessageKey, Translator } from '#src/http/i18n.ts'
import { template } from '#src/http/render.ts'
import { allowFormRedirect } from '#src/http/security-headers.ts'
import { siteOf, webAddress } from '#src/http/web-address.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { type PersonRow, readPerson } from '#src/tokens/statements.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { type Step, type StepDeps, seeOther, stepUrl } from './step.ts'

export type ConsentPage = {
  action: string
  csrf: string
  client: string
  logo: string | undefined
  clientUri: string | undefined
  clientSite: string
  person: string
  initial: string
  switchAccount: string
  groups: readonly { name: string; scopes: readonly ScopeLine[] }[]
  /** What cannot be left out, as the page shows it. */
  required: string
  /** At least one item can be left out. */
  narrow: boolean
  /** Where the browser goes afterwards. */
  site: string
  policyUri: string | undefined
  tosUri: string | undefined
  problem: string | undefined
}

/** `name` is the scope itself, shown where the words are the operator's and the name adds something. */
type ScopeLine = {
  value: string
  words: string
  name: string | undefined
  /** Says that it cannot be left out. */
  required: string | undefined
  checked: boolean
}

/** One thing that is asked, with what its checkbox sends. */
type Asked = { resource: string | undefined; name: string; description: string; required: boolean; value: string }

const problems = { 409: 'consent.error.changed', 422: 'consent.error.nothing' } as const

const consentPage = template<ConsentPage>('interaction/consent')

export function consentStep({ database, interactions, renderer, csrf }: StepDeps): Step {
  return {
    async show(ctx, pending) {
      await render(ctx, pending, { status: 200 })
    },

    async submit(ctx, pending) {
      const form = await readForm(ctx, { repeatable: ['scope'] })
      csrf.verify(ctx, form, { binding: pending.uid })
      const audit = { actor: { kind: 'user', id: pending.userId }, clientId: pending.client.id } as const

      if (readDecision(form) === 'deny') {
        currentUnit().audit({ event: 'consent.denied', outcome: 'success', ...audit })
        return seeOther(ctx, await interactions.deny(ctx, pending))
      }
      const asked = everythingAsked(pending)
      // Whoever left something out was told that they may. Where the client has changed its mind since, they look again.
      const shown = form.get('required')
      if (shown !== undefined && shown !== requiredOf(asked))
        return render(ctx, pending, { status: 409, ticked: new Set(form.all('scope')) })
      const ticked = readTicked(form, asked)
      const allowed = asked.filter((scope) => scope.required || ticked.has(scope.value))
      if (allowed.length === 0) return render(ctx, pending, { status: 422, ticked })

      const allowedOf = (resource: string | undefined) =>
        allowed.filter((scope) => scope.resource === resource).map((scope) => scope.name)
      const openid = allowedOf(undefined)
      const resources = Object.fromEntries(
        pending.resources.map(({ identifier }) => [identifier, allowedOf(identifier)]),
      )
      const next = await interactions.completeConsent(ctx, pending, { openid, resources })
      currentUnit().audit({
        event: 'consent.granted',
        outcome: 'success',
        ...audit,
        detail: { scopes: allowed.map((scope) => scope.name), leftOut: asked.length - allowed.length },
      })
      seeOther(ctx, next)
    },
  }

  async function render(
    ctx: Context,
    pending: PendingInteraction,
    page: { status: number; ticked?: ReadonlySet<string> },
  ): Promise<void> {
    const person = await signedInPerson(pending)
    const words = renderer.translator(ctx, pending.uiLocales)
    const asked = everythingAsked(pending)
    const line = (scope: Asked): ScopeLine => ({
      ...describe(words, scope),
      value: scope.value,
      required: scope.required ? words.t(scope.name === 'openid' ? 'consent.required' : 'consent.needed') : undefined,
      checked: page.ticked?.has(scope.value) ?? true,
    })
    const group = (resource: string | undefined) => asked.filter((scope) => scope.resource === resource).map(line)
    const { client } = pending
    allowFormRedirect(ctx, pending.redirectOrigin)
    renderer.renderPage(
      ctx,
      consentPage,
      {
        action: stepUrl(pending),
        csrf: csrf.token(ctx, pending.uid),
        client: client.name,
        logo: client.logo,
        clientUri: webAddress(client.clientUri),
        clientSite: siteOf(client.clientUri ?? ''),
        person: person.email,
        initial: [...(person.name ?? person.email)][0] ?? '',
        switchAccount: stepUrl(pending, 'login'),
        groups: [
          { name: words.t('consent.you'), scopes: group(undefined) },
          ...pending.resources.map(({ identifier, name }) => ({ name, scopes: group(identifier) })),
        ].filter(({ scopes }) => scopes.length > 0),
        required: requiredOf(asked),
        narrow: asked.some((scope) => !scope.required),
        site: siteOf(pending.redirectOrigin),
        policyUri: webAddress(client.policyUri),
        tosUri: webAddress(client.tosUri),
        problem: page.status in problems ? words.t(problems[page.status as keyof typeof problems]) : undefined,
      },
      { status: page.status, uiLocales: pending.uiLocales, languageSwitch: true },
    )
  }

  /** Somebody who was switched off since they signed in has nothing to agree to. */
  async function signedInPerson({ userId }: PendingInteraction): Promise<PersonRow> {
    // Known by now as a rule: the person comes along with the request.
    const person = userId && (await currentUnit().remember(`person ${userId}`, () => readPerson(database.pool, userId)))
    if (person && !person.disabled) return person
    throw new HttpError({
      status: 410,
      error: 'interaction_expired',
      description: 'The person who began this sign-in is no longer signed in.',
      screen: 'expired',
    })
  }
}

function readDecision(form: Form): 'allow' | 'deny' {
  const decision = form.get('decision')
  if (decision === 'allow' || decision === 'deny') return decision
  throw new HttpError({
    status: 400,
    error: 'invalid_request',
    description: 'The field decision must be "allow" or "deny".',
    screen: 'interrupted',
  })
}

function requiredOf(asked: readonly Asked[]): string {
  const names = asked.filter((scope) => scope.required).map((scope) => scope.value)
  return createHash('sha256').update(JSON.stringify(names)).digest('base64url')
}

function readTicked(form: Form, asked: readonly Asked[]): ReadonlySet<string> {
  const ticked = new Set(form.all('scope'))
  const optional = new Set(asked.filter((scope) => !scope.required).map((scope) => scope.value))
  for (const value of ticked)
    if (!optional.has(value))
      throw new HttpError({
        status: 400,
        error: 'invalid_request',
        description: 'The field scope names something that was not asked.',
      })
  return ticked
}

/** Two APIs may use one name for different things; then the API stands before it. A space cannot be part of a scope (RFC 6749 3.3). */
function everythingAsked(pending: PendingInteraction): Asked[] {
  const all = [
    ...pending.openidScopes.map((scope) => ({ ...scope, description: '', resource: undefined })),
    ...pending.resources.flatMap(({ identifier, scopes }) =>
      scopes.map((scope) => ({ ...scope, resource: identifier as string | undefined })),
    ),
  ]
  const times = (name: string) => all.filter((scope) => scope.name === name).length
  return all.map((scope) => ({
    ...scope,
    value: scope.resource !== undefined && times(scope.name) > 1 ? `${scope.resource} ${scope.name}` : scope.name,
  }))
}

const known = {
  openid: 'scope.openid',
  profile: 'scope.profile',
  email: 'scope.email',
  address: 'scope.address',
  phone: 'scope.phone',
  offline_access: 'scope.offline_access',
} as const satisfies Record<string, MessageKey>

function describe(
  { t }: Translator,
  { resource, name, description }: Asked,
): { words: string; name: string | undefined } {
  if (resource !== undefined) return description ? { words: description, name } : { words: name, name: undefined }
  return { words: Object.hasOwn(known, name) ? t(known[name as keyof typeof known]) : name, name: undefined }
}
