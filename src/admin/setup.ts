// The first administrator, made once with the code that the server printed at its first start. When that is done, or was never
// needed, the page is not there.
import Router from '@koa/router'
import type { Context } from 'koa'
import { hasOwner } from '#src/access/roles.ts'
import { completeSetup, type SetupResult } from '#src/bootstrap/setup.ts'
import type { Database } from '#src/db/database.ts'
import { reserveGuess } from '#src/factors/guessing.ts'
import type { Csrf } from '#src/http/csrf.ts'
import { type Form, readForm } from '#src/http/form.ts'
import { HttpError } from '#src/http/http-error.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { type Said, sayLimited } from '#src/http/limited.ts'
import { type Renderer, template } from '#src/http/render.ts'
import { requestOf } from '#src/http/request-context.ts'

export type SetupPage = {
  action: string
  csrf: string
  code: string
  email: string
  name: string
  focus: Field
  errors: Partial<Record<Field, string>>
  problem: string | undefined
}

export type SetupDonePage = { email: string; discovery: string }

export type SetupDeps = { database: Database; renderer: Renderer; csrf: Csrf; now: () => Date }

const fields = ['code', 'email', 'name', 'password'] as const
type Field = (typeof fields)[number]
type Wrong = Partial<Record<Field, MessageKey>> & { problem?: Said }
type Input = Record<Field, string>

const setupPage = template<SetupPage>('admin/setup')
const setupDonePage = template<SetupDonePage>('admin/setup-done')
const path = '/admin/setup'

export function createSetupRouter({ database, renderer, csrf, now }: SetupDeps): Router {
  const router = new Router()

  router.get(path, async (ctx) => {
    await refuseWhenDone()
    render(ctx, { code: '', email: '', name: '', password: '' }, {}, 200)
  })

  router.post(path, async (ctx) => {
    const form = await readForm(ctx)
    csrf.verify(ctx, form, { beforeLogin: true })
    await refuseWhenDone()
    const input = readInput(form)
    const missing = findMissing(input)
    if (Object.keys(missing).length > 0) return render(ctx, input, missing, 422)

    const { requestId, log } = requestOf(ctx)
    // By address alone: nobody guesses a code of 128 bits, and a limit for all would let a stranger keep the operator out.
    const guess = await reserveGuess(database, { factor: 'setup_code', address: ctx.ip, now: now() })
    if (!guess.allowed) {
      log.info({ event: 'guess.refused', factor: 'setup_code' })
      return render(ctx, input, { problem: sayLimited(ctx, guess.retryAfterSeconds) }, 429)
    }
    const origin = { address: ctx.ip, userAgent: ctx.get('User-Agent'), requestId }
    const result = await completeSetup(database, input, now(), origin)
    if (result.ok || result.reason !== 'code') await guess.release()
    if (result.ok)
      return renderer.renderPage(ctx, setupDonePage, {
        email: input.email,
        discovery: '/.well-known/openid-configuration',
      })
    if (result.reason === 'busy') {
      ctx.state.unavailable = 'hash_queue'
      ctx.set('Retry-After', '5')
    }
    render(ctx, input, explain(result), statuses[result.reason])
  })

  return router

  async function refuseWhenDone(): Promise<void> {
    if (await hasOwner(database.prisma))
      throw new HttpError({ status: 404, error: 'not_found', description: 'There is nothing at this address.' })
  }

  function render(ctx: Context, { code, email, name }: Input, wrong: Wrong, status: number): void {
    const { t } = renderer.translator(ctx)
    const errors: SetupPage['errors'] = {}
    for (const field of fields) if (wrong[field]) errors[field] = t(wrong[field])
    renderer.renderPage(
      ctx,
      setupPage,
      {
        code,
        email,
        name,
        action: path,
        csrf: csrf.token(ctx),
        focus: fields.find((field) => wrong[field]) ?? 'code',
        errors,
        problem: wrong.problem && t(wrong.problem.key, wrong.problem.args),
      },
      { status, languageSwitch: true },
    )
  }
}

function readInput(form: Form): Input {
  const text = (name: Field) => form.get(name)?.trim() ?? ''
  return { code: text('code'), email: text('email'), name: text('name'), password: form.get('password') ?? '' }
}

function findMissing({ code, email, name, password }: Input): Wrong {
  return {
    ...(code ? {} : { code: 'setup.error.codeMissing' }),
    ...(email ? {} : { email: 'setup.error.emailInvalid' }),
    ...(name ? {} : { name: 'setup.error.nameMissing' }),
    ...(password ? {} : { password: 'setup.error.password.too_short' }),
  }
}

const statuses = { code: 403, email: 422, name: 422, password: 422, busy: 503 } as const

/** The room's sentences are for operators and in English; a person gets the same in their language. */
function explain(refusal: SetupResult & { ok: false }): Wrong {
  switch (refusal.reason) {
    case 'code':
      return { code: 'setup.error.codeInvalid' }
    case 'email':
      return { email: 'setup.error.emailInvalid' }
    case 'name':
      return { name: 'setup.error.nameInvalid' }
    case 'password':
      return { password: `setup.error.password.${refusal.flaws?.[0]?.code ?? 'too_short'}` }
    case 'busy':
      return { problem: { key: 'setup.error.busy' } }
  }
}
