// A person at a browser, as far as HTTP goes: keeps cookies, follows redirects one by one, fills in forms by the field names of the
// contract. For journeys about the protocol; what a page looks like is tested in Chromium.
import { expect } from 'vitest'

export type Page = { url: string; status: number; text: string; headers: Headers }

export class Person {
  readonly cookies = new Map<string, { value: string; path: string }>()
  readonly #origin: string

  constructor(origin: string) {
    this.#origin = origin
  }

  /** Follows redirects on our origin; stops at the first that leaves it, whose address is then `url` and whose status is 3xx. */
  async open(address: string, init: RequestInit = {}): Promise<Page> {
    let url = new URL(address, this.#origin)
    let request: RequestInit = init
    for (let hop = 0; hop < 12; hop++) {
      const response = await this.fetch(url, request)
      const location = response.headers.get('location')
      if (!location || response.status < 300 || response.status > 399)
        return { url: url.href, status: response.status, text: await response.text(), headers: response.headers }
      const next = new URL(location, url)
      if (next.origin !== this.#origin)
        return { url: next.href, status: response.status, text: await response.text(), headers: response.headers }
      expect(request.method === 'POST' ? response.status : 303, 'a redirect after POST is 303').toBe(303)
      url = next
      request = {}
    }
    throw new Error(`too many redirects, last ${url}`)
  }

  async fetch(address: string | URL, init: RequestInit = {}): Promise<Response> {
    const url = new URL(address, this.#origin)
    const cookie = [...this.cookies].filter(
      ([, { path }]) => url.pathname === path || url.pathname.startsWith(path.endsWith('/') ? path : `${path}/`),
    )
    const headers = new Headers(init.headers)
    headers.set('Accept', headers.get('Accept') ?? 'text/html')
    if (cookie.length > 0)
      headers.set('Cookie', cookie.map(([key, { value }]) => `${key.split(' ')[0]}=${value}`).join('; '))
    const response = await fetch(url, { ...init, headers, redirect: 'manual' })
    for (const line of response.headers.getSetCookie()) this.#store(line, url)
    return response
  }

  /** Fills in the form of a page and posts it to the page's own address (or the form's). */
  async submit(
    page: Page,
    fields: Record<string, string | string[]>,
    options: { csrf?: string | null } = {},
  ): Promise<Page> {
    const hidden = [...page.text.matchAll(/<input[^>]*type="hidden"[^>]*>/g)].map(
      ([tag]) => [attribute(tag, 'name'), attribute(tag, 'value')] as const,
    )
    const body = new URLSearchParams()
    for (const [name, value] of hidden) if (name && !(name in fields)) body.append(name, value ?? '')
    if (options.csrf === null) body.delete('csrf')
    else if (options.csrf !== undefined) body.set('csrf', options.csrf)
    for (const [name, value] of Object.entries(fields)) for (const one of [value].flat()) body.append(name, one)
    const action = attribute(/<form[^>]*method="post"[^>]*>/.exec(page.text)?.[0] ?? '', 'action') || page.url
    return this.open(new URL(action, page.url).href, { method: 'POST', body, headers: { Origin: this.#origin } })
  }

  #store(line: string, url: URL): void {
    const [pair = '', ...attributes] = line.split(';').map((part) => part.trim())
    const [name = '', value = ''] = [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]
    const path = attributes.find((part) => /^path=/i.test(part))?.slice(5) ?? url.pathname
    const key = path === '/' ? name : `${name} ${path}`
    if (value === '' || attributes.some((part) => /^expires=Thu, 01 Jan 1970/i.test(part))) this.cookies.delete(key)
    else this.cookies.set(key, { value, path })
  }
}

function attribute(tag: string, name: string): string | undefined {
  const value = new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1]
  return value
    ?.replaceAll('&#39;', "'")
    .replaceAll('&quot;', '"')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
}
