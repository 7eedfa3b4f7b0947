// A new application. It begins with the question that decides everything else: who is the client? Each kind then asks what matters for it,
// and ends with what the developer needs: the id, the secret once, and a program that runs.
import { refuseBeyondClient } from '#src/admin/bounds.ts'
import { createClient } from '#src/clients/clients.ts'
import { newClientSecret } from '#src/clients/secrets.ts'
import { type ClientInput, clientSettings } from '#src/clients/settings.ts'
import { type ClientType, hasSecret, typeRules } from '#src/clients/types.ts'
import type { Form } from '#src/http/form.ts'
import { HttpError } from '#src/http/http-error.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { attempt, type ConsolePage, type ConsoleRequest, type PageDeps } from '../page.ts'
import { type Code, codeFor } from './code.ts'
import { apisOf, type Offers, offersOf, readSettings, repeatable, type SettingsInput } from './form.ts'
import { applicationsPath, hrefOf, typeWords } from './read.ts'

/** Devices wait for their grant: nothing is offered that does not work. */
const kinds = ['web', 'spa', 'native', 'service'] as const satisfies readonly ClientType[]
type Kind = (typeof kinds)[number]

const kindWords = {
  web: { icon: 'monitor', text: 'console.applications.who.web', how: 'console.applications.how.web' },
  spa: { icon: 'grid', text: 'console.applications.who.spa', how: 'console.applications.how.spa' },
  native: { icon: 'phone', text: 'console.applications.who.native', how: 'console.applications.how.native' },
  service: { icon: 'cube', text: 'console.applications.who.service', how: 'console.applications.how.service' },
} as const

export type WhoPage = {
  kinds: readonly { href: string; icon: string; name: string; text: string; how: string }[]
}
export type NewApplicationPage = {
  kind: Kind
  title: string
  how: string
  id: string
  input: SettingsInput
  offers: Offers
  flaws: readonly Flaw[]
}
export type MadeApplicationPage = {
  href: string
  id: string
  name: string
  value: string | undefined
  issuer: string
  discovery: string
  redirectUris: readonly string[]
  code: Code | undefined
}

const whoPage = template<WhoPage>('admin/console/application-who')
const newPage = template<NewApplicationPage>('admin/console/application-new')
const madePage = template<MadeApplicationPage>('admin/console/application-made')

export function whoIsItPage({ render }: PageDeps): ConsolePage {
  return {
    path: `${applicationsPath}/new`,
    section: 'applications',
    scope: 'clients:write',
    async show(request) {
      const { t } = request.words
      render(
        request,
        whoPage,
        {
          kinds: kinds.map((kind) => ({
            href: `${applicationsPath}/new/${kind}`,
            icon: kindWords[kind].icon,
            name: t(typeWords[kind]),
            text: t(kindWords[kind].text),
            how: t(kindWords[kind].how),
          })),
        },
        { section: 'applications' },
      )
    },
  }
}

export function newApplicationPage({ config, database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: `${applicationsPath}/new/:kind`,
    section: 'applications',
    scope: 'clients:write',
    sensitive: true,
    repeatable,

    async show(request) {
      const kind = kindOf(request)
      await show(request, kind, { id: '', input: usual(kind), flaws: [] }, 200)
    },

    async submit(request, form) {
      const kind = kindOf(request)
      const input = readSettings(form)
      const id = form.get('id')?.trim() ?? ''
      const { bounds, change } = request
      const settings = inputFor(kind, input)
      await refuseBeyondClient(bounds, prisma, settings)
      const value = hasSecret(kind) ? newClientSecret() : undefined
      const result = await attempt(() =>
        createClient(
          prisma,
          { id: id || idFrom(input.name), ...settings },
          value === undefined ? [] : [{ value }],
          change,
        ),
      )
      if (!result.ok) return show(request, kind, { id, input, flaws: result.flaws }, result.status)
      const record = result.value
      const { issuerUrl: issuer } = config
      render(
        request,
        madePage,
        {
          href: hrefOf(record.id),
          id: record.id,
          name: record.name,
          value,
          issuer,
          discovery: `${issuer}/.well-known/openid-configuration`,
          redirectUris: record.redirectUris,
          code: codeFor(record.id, clientSettings(record), { issuer, secret: value }),
        },
        { section: 'applications' },
      )
    },
  }

  async function show(
    request: ConsoleRequest,
    kind: Kind,
    shown: Pick<NewApplicationPage, 'id' | 'input' | 'flaws'>,
    status: number,
  ): Promise<void> {
    const { t } = request.words
    const offers = await offersOf(prisma, request, kind, shown.input)
    render(
      request,
      newPage,
      { kind, title: t(typeWords[kind]), how: t(kindWords[kind].how), ...shown, offers },
      { section: 'applications', status },
    )
  }

  /** What most begin with. A server on this machine may have the port that most examples take. */
  function usual(kind: Kind): SettingsInput {
    const port = config.issuerUrl === 'http://localhost:3000' ? 8080 : 3000
    const { person, redirects } = typeRules[kind]
    return {
      ...readSettings(nothing),
      redirectUris: redirects ? [`http://localhost:${port}/callback`] : [],
      scopes: person ? ['openid', 'profile', 'email'] : [],
    }
  }
}

/** @throws HttpError 404 */
function kindOf({ ctx }: ConsoleRequest): Kind {
  const kind = kinds.find((name) => name === ctx.params.kind)
  if (!kind) throw new HttpError({ status: 404, error: 'not_found', description: 'There is nothing at this address.' })
  return kind
}

const nothing: Form = { get: () => undefined, all: () => [] }

function inputFor(type: Kind, input: SettingsInput): ClientInput {
  const { person, redirects } = typeRules[type]
  return {
    type,
    name: input.name,
    apis: apisOf(input.apis),
    ...(redirects && { redirectUris: input.redirectUris }),
    ...(person ? { scopes: input.scopes } : { roles: input.roles }),
  }
}

/** "Field App (Zürich)" is field-app-zurich. Sent twice, it is taken the second time, and nothing is made twice. */
function idFrom(name: string): string {
  const words = name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .match(/[a-z0-9]+/g)
  return (words ?? ['application']).join('-').slice(0, 64)
}
