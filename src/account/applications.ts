// The applications that the person let in, and taking that back: the agreement is forgotten, and every token it led to is over.
import { logoAddress } from '#src/clients/logos.ts'
import { refuseDecision } from '#src/http/decision.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { siteOf, webAddress } from '#src/http/web-address.ts'
import { type ConnectedApplication, listApplications } from '#src/tokens/applications.ts'
import { ConsentNotFound, revoke } from '#src/tokens/revoke.ts'
import { type AccountDeps, type AccountPage, type AccountRequest, changeBy, goOn, renderAccount } from './page.ts'
import { openidScope } from './words.ts'

export type ApplicationLine = {
  href: string
  name: string
  initial: string
  logo: string | undefined
  uri: string | undefined
  site: string | undefined
  since: Moment
  lastUsed: Moment | undefined
  /** The groups of the consent page: about the person, then by API. */
  groups: readonly { name: string; may: readonly string[] }[]
}

const applications = template<{ applications: readonly ApplicationLine[] }>('account/applications')
const application = template<{ application: ApplicationLine }>('account/application')

export function applicationsPage({ database: { prisma }, renderer }: AccountDeps): AccountPage {
  return {
    path: '/account/applications',
    section: 'applications',
    async show(request) {
      const found = await listApplications(prisma, request.person.id, request.now)
      const lines = found.map((one) => describe(request, one))
      renderAccount(renderer, request, applications, { applications: lines }, { section: 'applications' })
    },
  }
}

export function applicationPage({ database: { prisma }, renderer }: AccountDeps): AccountPage {
  return {
    path: '/account/applications/:clientId',
    section: 'applications',

    async show(request) {
      const { ctx, person, now } = request
      const clientId = String(ctx.params.clientId)
      const found = (await listApplications(prisma, person.id, now)).find((one) => one.clientId === clientId)
      if (!found) throw new ConsentNotFound(person.id, clientId)
      renderAccount(
        renderer,
        request,
        application,
        { application: describe(request, found) },
        { section: 'applications' },
      )
    },

    async submit(request, form) {
      if (form.get('decision') !== 'remove') refuseDecision()
      const { ctx, person } = request
      const clientId = String(ctx.params.clientId)
      await revoke(prisma, { kind: 'consent', userId: person.id, clientId }, changeBy(request))
      goOn(ctx, '/account/applications', 'application')
    },
  }
}

function describe({ words, person, now }: AccountRequest, found: ConnectedApplication): ApplicationLine {
  const at = (time: Date) => moment(words, time, now, person.zoneinfo)
  const about = found.scopes.map((scope) => openidScope(words, scope))
  const uri = webAddress(found.clientUri)
  return {
    href: `/account/applications/${encodeURIComponent(found.clientId)}`,
    name: found.name,
    initial: [...found.name][0] ?? '',
    logo: logoAddress(found.logo),
    uri,
    site: uri && siteOf(uri),
    since: at(found.since),
    lastUsed: found.lastUsedAt ? at(found.lastUsedAt) : undefined,
    groups: [
      ...(about.length > 0 ? [{ name: words.t('consent.you'), may: about }] : []),
      ...found.resources.map(({ name, scopes }) => ({
        name,
        may: scopes.map((scope) => scope.description || scope.name),
      })),
    ],
  }
}
