// The sign-in page as people see it now, with the operator's sheet and a client's logo, or with a sheet that is not stored yet. It is the very
// template that they see, made inert: nothing can be typed, pressed or sent, and no script runs. A frame inside the console is not to be had, as
// no page here lets itself be framed.
import { findClient } from '#src/clients/clients.ts'
import { logoAddress } from '#src/clients/logos.ts'
import { HttpError } from '#src/http/http-error.ts'
import { template } from '#src/http/render.ts'
import { sentence } from '#src/refusal.ts'
import { checkSetting } from '#src/settings/settings.ts'
import { oneOf, textOf } from '../lists.ts'
import { type ConsolePage, type ConsoleRequest, holds, type PageDeps } from '../page.ts'

/** What the sign-in page is given, in as far as it shows. */
export type PreviewPage = {
  /** Where to go back to. */
  preview: string
  /** Undefined: as the device says. */
  scheme: 'light' | 'dark' | undefined
  action: string
  csrf: string
  client: string
  logo: string | undefined
  again: false
  identifier: string
  focus: undefined
  errors: Record<never, never>
  problem: undefined
  recovery: string
  signUp: string | undefined
  emailCode: string | undefined
  passkey: { address: string; does: 'get'; primary: false }
}

const page = template<PreviewPage>('interaction/login')

export function previewPage({ config, database: { prisma }, renderer }: PageDeps): ConsolePage {
  const path = '/admin/settings/preview'
  return {
    ...{ path, section: 'settings', scope: 'settings:read', writes: 'settings:write', lines: ['THEME_CSS'] },
    show: (request) => show(request),
    // A look, which stores nothing.
    async submit(request, form) {
      const css = form.get('THEME_CSS') ?? ''
      const [flaw] = css === '' ? [] : checkSetting('THEME_CSS', css)
      if (flaw) throw new HttpError({ status: 422, error: 'invalid_request', description: sentence(flaw) })
      await show(request, css)
    },
  }

  async function show({ ctx, words, held, person }: ConsoleRequest, css?: string): Promise<void> {
    const asked = holds(held, 'clients:read') ? textOf(ctx, 'client') : ''
    const client = asked ? await findClient(prisma, asked) : null
    const scheme = oneOf(ctx, 'scheme', ['light', 'dark'])
    renderer.renderPage(
      ctx,
      page,
      {
        preview: '/admin/settings',
        scheme,
        action: path,
        csrf: '',
        client: client?.name ?? words.t('console.settings.someApplication'),
        logo: logoAddress(client?.logo ?? null),
        again: false,
        identifier: '',
        focus: undefined,
        errors: {},
        problem: undefined,
        recovery: path,
        signUp: config.signUp === 'open' ? path : undefined,
        emailCode: config.emailSignIn === 'on' && config.mail !== 'none' ? path : undefined,
        passkey: { address: '', does: 'get', primary: false },
      },
      {
        uiLocales: person.locale ? [person.locale] : [],
        languageSwitch: css === undefined,
        draft: css === undefined ? undefined : { css, scheme },
      },
    )
  }
}
