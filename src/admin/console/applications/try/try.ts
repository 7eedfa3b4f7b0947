// "Try it": the real flow of an application against this server, in the browser of the administrator, every step shown.
//
//   GET  …/try           what will be done
//   POST …/try           lends the application an address of the console and a short-lived secret, and shows the first request; a service,
//                        which needs no browser, goes the whole way at once
//   GET  …/try/callback  where the browser comes back to: redeems the code, looks at the tokens, ends them, takes back what was lent
//
// What the callback needs to know travels in a cookie that is sealed to the session. It redeems what it asked for and nothing else.
import { createHash, randomBytes } from 'node:crypto'
import type { Context } from 'koa'
import { refuseBeyondClient } from '#src/admin/bounds.ts'
import { namesOfApis } from '#src/apis/apis.ts'
import { findClient } from '#src/clients/clients.ts'
import { type ClientRecord, clientSettings } from '#src/clients/settings.ts'
import { lend, takeBack, trialSeconds } from '#src/clients/trials.ts'
import { typeRules } from '#src/clients/types.ts'
import { cookieAttributes, cookieNames } from '#src/http/cookies.ts'
import { refuseDecision } from '#src/http/decision.ts'
import { HttpError } from '#src/http/http-error.ts'
import { template } from '#src/http/render.ts'
import { SealBroken } from '#src/keys/secret-key.ts'
import { type Choice, choices } from '../../lists.ts'
import { type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../../page.ts'
import { type ApplicationHead, headOf, hrefOf, readApplication, typeOf } from '../read.ts'
import { examine, mendOf, post, type Step, shorten, shownFields, type Tokens } from './steps.ts'

export type TryPage = ApplicationHead & {
  forPeople: boolean
  ready: boolean
  callback: string
  /** Of an earlier trial that nobody finished. */
  left: boolean
  apis: readonly Choice[]
}
export type TrialPage = ApplicationHead & {
  steps: readonly Step[]
  /** Where the browser has to go now. */
  next: string | undefined
  passed: boolean
  explain: typeof explain
}

const tryTemplate = template<TryPage>('admin/console/application-try')
const trialTemplate = template<TrialPage>('admin/console/application-trial')

/** What a parameter is for. */
const explain = {
  response_type: 'console.applications.try.param.response_type',
  client_id: 'console.applications.try.param.client_id',
  redirect_uri: 'console.applications.try.param.redirect_uri',
  scope: 'console.applications.try.param.scope',
  resource: 'console.applications.try.param.resource',
  state: 'console.applications.try.param.state',
  nonce: 'console.applications.try.param.nonce',
  code_challenge: 'console.applications.try.param.code_challenge',
  code_verifier: 'console.applications.try.param.code_verifier',
  iss: 'console.applications.try.param.iss',
} as const

type Trial = {
  clientId: string
  state: string
  nonce: string
  verifier: string
  resource: string | undefined
  secret: string | undefined
  secretId: string | undefined
  /** Epoch seconds. */
  until: number
}

export function tryPages({ config, database: { prisma }, secretKeys, render }: PageDeps): ConsolePage[] {
  const issuer = config.issuerUrl
  const cookie = cookieNames(config).trial
  const callbackOf = ({ id }: ClientRecord) => `${issuer}${hrefOf(id)}/try/callback`

  const tryPage: ConsolePage = {
    path: '/admin/applications/:id/try',
    section: 'applications',
    scope: 'clients:write',
    sensitive: true,

    async show(request) {
      const record = await readApplication(prisma, request)
      const { words } = request
      const type = typeOf(record)
      const identifiers = Object.keys(clientSettings(record).apis)
      const names = await namesOfApis(prisma, identifiers)
      const apis = identifiers.map((id) => [id, names.get(id) ?? id] as const)
      const { person } = typeRules[type]
      render(
        request,
        tryTemplate,
        {
          ...headOf(request, record, 'try'),
          forPeople: person,
          ready: type !== 'device' && record.disabledAt === null && (person || apis.length > 0),
          callback: callbackOf(record),
          left: record.redirectUris.includes(callbackOf(record)),
          apis: person
            ? choices(apis, undefined, words.t('console.applications.try.noApi'))
            : apis.map(([value, label]) => ({ value, label, selected: false })),
        },
        { section: 'applications' },
      )
    },

    async submit(request, form) {
      const { ctx, bounds, change, now, visitor } = request
      const record = await readApplication(prisma, request)
      await refuseBeyondClient(bounds, prisma, clientSettings(record))
      const callback = callbackOf(record)
      if (form.get('decision') === 'clear') {
        await takeBack(prisma, record, { callback, secretId: undefined }, change)
        return goOn(ctx, `${hrefOf(record.id)}/try`, 'removed')
      }
      if (form.get('decision') !== 'begin' || typeOf(record) === 'device' || record.disabledAt) refuseDecision()
      const settings = clientSettings(record)
      const asked = form.get('api') || undefined
      const scopes = asked === undefined ? [] : (settings.apis[asked] ?? refuseDecision())
      const loan = await lend(prisma, record, callback, change)
      if (!typeRules[typeOf(record)].person) return runService(request, record, { ...loan, resource: asked, scopes })

      const trial: Trial = {
        clientId: record.id,
        state: randomBytes(24).toString('base64url'),
        nonce: randomBytes(24).toString('base64url'),
        verifier: randomBytes(32).toString('base64url'),
        resource: asked,
        ...loan,
        until: Math.floor(now.getTime() / 1000) + trialSeconds,
      }
      keep(ctx, secretKeys.seal('trial', visitor.sessionUid, JSON.stringify(trial)))
      const fields: Record<string, string> = {
        response_type: 'code',
        client_id: record.id,
        redirect_uri: callback,
        // Without a question that only some ask for: a refresh token would be ended a moment later.
        scope: [...settings.scopes.filter((scope) => scope !== 'offline_access'), ...scopes].join(' '),
        ...(asked !== undefined && { resource: asked }),
        state: trial.state,
        nonce: trial.nonce,
        code_challenge: createHash('sha256').update(trial.verifier).digest('base64url'),
        code_challenge_method: 'S256',
      }
      const url = `${issuer}/oauth/authorize`
      finish(
        request,
        record,
        [
          {
            title: 'console.applications.try.authorize',
            ok: true,
            request: { method: 'GET', url, fields: shownFields(fields) },
          },
        ],
        `${url}?${new URLSearchParams(fields)}`,
      )
    },
  }

  const callbackPage: ConsolePage = {
    path: '/admin/applications/:id/try/callback',
    section: 'applications',
    scope: 'clients:write',

    async show(request) {
      const { ctx, change } = request
      const record = await readApplication(prisma, request)
      const trial = trialOf(request, record)
      keep(ctx, undefined)
      if (!trial)
        return finish(request, record, [
          { title: 'console.applications.try.redirect', ok: false, mend: 'console.applications.try.mend.none' },
        ])
      const steps: Step[] = []
      try {
        const { code, error, error_description: description, iss } = ctx.query
        const cameBack = typeof code === 'string' && iss === issuer
        steps.push({
          title: 'console.applications.try.redirect',
          ok: cameBack,
          request: {
            method: 'GET',
            url: callbackOf(record),
            fields: [
              ...(typeof code === 'string' ? [{ name: 'code', value: shorten(code) }] : []),
              { name: 'state', value: trial.state },
              ...(typeof iss === 'string' ? [{ name: 'iss', value: iss.slice(0, 300) }] : []),
            ],
          },
          ...(!cameBack && {
            mend: mendOf(String(error)),
            detail: `${error ?? ''} ${description ?? ''}`.slice(0, 500),
          }),
        })
        if (!cameBack) return
        const who = { issuer, clientId: record.id, secret: trial.secret }
        const fields = {
          grant_type: 'authorization_code',
          code: String(code),
          code_verifier: trial.verifier,
          redirect_uri: callbackOf(record),
          ...(trial.resource !== undefined && { resource: trial.resource }),
        }
        const { step, body } = await post(who, 'console.applications.try.token', '/oauth/token', fields, {
          patience: 4,
        })
        steps.push(step)
        if (step.ok) steps.push(...(await examine(who, body as Tokens, trial)))
      } finally {
        const present = await findClient(prisma, record.id)
        if (present) await takeBack(prisma, present, { callback: callbackOf(record), secretId: trial.secretId }, change)
        finish(request, record, [...steps, { title: 'console.applications.try.back', ok: true }])
      }
    },
  }

  return [tryPage, callbackPage]

  async function runService(
    request: ConsoleRequest,
    record: ClientRecord,
    asked: {
      secret: string | undefined
      secretId: string | undefined
      resource: string | undefined
      scopes: readonly string[]
    },
  ): Promise<void> {
    const steps: Step[] = []
    try {
      const who = { issuer, clientId: record.id, secret: asked.secret }
      const fields = {
        grant_type: 'client_credentials',
        scope: asked.scopes.join(' '),
        ...(asked.resource !== undefined && { resource: asked.resource }),
      }
      const { step, body } = await post(who, 'console.applications.try.token', '/oauth/token', fields, { patience: 8 })
      steps.push(step)
      if (step.ok) steps.push(...(await examine(who, body as Tokens, asked)))
    } finally {
      const present = await findClient(prisma, record.id)
      if (present)
        await takeBack(prisma, present, { callback: callbackOf(record), secretId: asked.secretId }, request.change)
    }
    finish(request, record, [...steps, { title: 'console.applications.try.back', ok: true }])
  }

  function finish(request: ConsoleRequest, record: ClientRecord, steps: readonly Step[], next?: string): void {
    render(
      request,
      trialTemplate,
      {
        ...headOf(request, record, 'try'),
        steps,
        next,
        passed: next === undefined && steps.every(({ ok }) => ok),
        explain,
      },
      { section: 'applications' },
    )
  }

  /** @returns undefined unless this browser began it, for this application, and not long ago. @throws HttpError 400 for another's answer */
  function trialOf({ ctx, visitor, now }: ConsoleRequest, { id }: ClientRecord): Trial | undefined {
    const sealed = ctx.cookies.get(cookie, { signed: false })
    if (!sealed) return undefined
    try {
      const trial = JSON.parse(secretKeys.unseal('trial', visitor.sessionUid, sealed).toString()) as Trial
      if (trial.clientId !== id || trial.until * 1000 < now.getTime()) return undefined
      if (ctx.query.state !== trial.state)
        throw new HttpError({
          status: 400,
          error: 'invalid_request',
          description: 'This answer was not asked for here.',
        })
      return trial
    } catch (error) {
      if (error instanceof SealBroken) return undefined
      throw error
    }
  }

  function keep(ctx: Context, value: string | undefined): void {
    ctx.cookies.set(cookie, value ?? null, {
      ...cookieAttributes(config),
      ...(value !== undefined && { maxAge: trialSeconds * 1000 }),
    })
  }
}
