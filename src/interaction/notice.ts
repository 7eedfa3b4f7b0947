// A page that has something to say and nothing to ask.
import type { Context } from 'koa'
import type { MessageKey } from '#src/http/i18n.ts'
import { type Renderer, template } from '#src/http/render.ts'
import { requestOf } from '#src/http/request-context.ts'

export type NoticePage = { title: string; text: string; link: { words: string; href: string } | undefined }

const noticePage = template<NoticePage>('interaction/notice')

export function renderNotice(
  ctx: Context,
  renderer: Renderer,
  notice: {
    title: MessageKey
    text: MessageKey
    link?: { words: MessageKey; href: string }
    status?: number
    uiLocales?: readonly string[]
  },
): void {
  const { status = 200, uiLocales = [] } = notice
  const { t } = renderer.translator(ctx, uiLocales)
  const link = notice.link && { words: t(notice.link.words), href: notice.link.href }
  const page = { title: t(notice.title), text: t(notice.text), link }
  renderer.renderPage(ctx, noticePage, page, { status, uiLocales, languageSwitch: true })
}

/** The operator reads of it in the log, the person on the page. */
export function renderMailOff(ctx: Context, renderer: Renderer, back: string, uiLocales: readonly string[] = []): void {
  requestOf(ctx).log.error({ event: 'mail.not_set_up' })
  ctx.state.unavailable = 'mail'
  renderNotice(ctx, renderer, {
    title: 'mailOff.title',
    text: 'mailOff.text',
    link: { words: 'mailOff.back', href: back },
    status: 503,
    uiLocales,
  })
}
