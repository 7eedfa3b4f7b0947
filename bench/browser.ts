// The least of a browser that gets through the hosted pages: keeps cookies, follows redirects, fills in forms.
import { type Answer, type Connection, header, WrongAnswer } from './connection.ts'

export class Browser {
  readonly connection: Connection
  readonly #cookies = new Map<string, { value: string; path: string }>()

  constructor(connection: Connection) {
    this.connection = connection
  }

  /** As the same person's browser is the next day: no session any more, but known to have been one of theirs. */
  nextDay(connection: Connection): Browser {
    const next = new Browser(connection)
    for (const [key, cookie] of this.#cookies) if (/device/.test(key)) next.#cookies.set(key, cookie)
    return next
  }

  async get(path: string): Promise<Answer> {
    return this.#keep(await this.connection.get(path, `Accept: text/html\r\n${this.cookie(path)}`))
  }

  async post(path: string, form: URLSearchParams): Promise<Answer> {
    const headers = `Accept: text/html\r\nOrigin: http://${this.connection.host}\r\n${this.cookie(path)}`
    return this.#keep(await this.connection.post(path, headers, form.toString()))
  }

  /** The header line for this path, or nothing. */
  cookie(path: string): string {
    const bare = path.split('?', 1)[0] ?? ''
    const pairs: string[] = []
    for (const [key, { value, path: at }] of this.#cookies)
      if (bare === at || bare.startsWith(at.endsWith('/') ? at : `${at}/`)) pairs.push(`${key.split(' ')[0]}=${value}`)
    return pairs.length === 0 ? '' : `Cookie: ${pairs.join('; ')}\r\n`
  }

  #keep(answer: Answer): Answer {
    for (const [, line = ''] of answer.head.matchAll(/^set-cookie: (.*)\r$/gim)) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
      const path = /; ?path=([^;]*)/i.exec(line)?.[1] ?? '/'
      const key = `${name} ${path}`
      if (value === '' || /expires=Thu, 01 Jan 1970/i.test(line)) this.#cookies.delete(key)
      else this.#cookies.set(key, { value, path })
    }
    return answer
  }
}

/** Where a redirect leads, as a path on our server or as the client's address. @throws WrongAnswer when it is none. */
export function locationOf(answer: Answer): string {
  const location = header(answer.head, 'location')
  if (answer.status < 300 || answer.status > 399 || !location)
    throw new WrongAnswer(`expected a redirect, not ${answer.status}: ${answer.body.slice(0, 500)}`)
  const url = URL.parse(location)
  return url?.hostname === 'localhost' ? url.pathname + url.search : location
}

/** The hidden fields of a page's form and every checkbox, ticked; the caller adds what a person types. */
export function formOf(page: Answer): URLSearchParams {
  if (page.status !== 200) throw new WrongAnswer(`expected a page, not ${page.status}: ${page.body.slice(0, 500)}`)
  const fields = new URLSearchParams()
  for (const [tag] of page.body.matchAll(/<input[^>]*type="(?:hidden|checkbox)"[^>]*>/g))
    fields.append(/name="([^"]*)"/.exec(tag)?.[1] ?? '', /value="([^"]*)"/.exec(tag)?.[1] ?? '')
  return fields
}
