// What a door throws when it refuses a request: a status, an error code for programs, a sentence for people. error-page.ts turns
// it into JSON or a page; nothing else in the house knows HTTP words.

export type HttpErrorOptions = {
  status: number
  /** For programs, in the way of RFC 6749 5.2: lower case and underscores. */
  error: string
  /** Public, English, without anything secret. Reflected names go through `safeName` first. */
  description: string
  /** For the operator's log only. */
  detail?: string
  headers?: Readonly<Record<string, string>>
  /** What to show a person, when there is something better than the words of the status. */
  screen?: ErrorScreen
}

/** What views/error.eta can say: `error.<name>.title`, `.text` and `.next` in views/locales. The last four are about the request of
 *  an application, not about ours. */
export const errorScreens = [
  'badRequest',
  'csrf',
  'forbidden',
  'acting',
  'notFound',
  'methodNotAllowed',
  'tooLarge',
  'tooLong',
  'unsupportedMediaType',
  'misdirected',
  'busy',
  'expired',
  'invitation',
  'interrupted',
  'unavailable',
  'unexpected',
  'unknownClient',
  'redirectUri',
  'applicationMistake',
  'denied',
] as const
export type ErrorScreen = (typeof errorScreens)[number]

export class HttpError extends Error {
  override name = 'HttpError'
  readonly status: number
  readonly error: string
  readonly description: string
  readonly detail: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly screen: ErrorScreen | undefined

  constructor(options: HttpErrorOptions) {
    super(options.detail ?? options.description)
    this.status = options.status
    this.error = options.error
    this.description = options.description
    this.detail = options.detail
    this.headers = options.headers ?? {}
    this.screen = options.screen
  }
}

/** A name sent by a stranger, fit for an error text: RFC 6749 5.2 allows printable ASCII without quote and backslash. */
export function safeName(name: string): string {
  const text = name.replace(/[^\x21\x23-\x5b\x5d-\x7e]/g, '?')
  return text.length > 64 ? `${text.slice(0, 61)}...` : text || '?'
}
