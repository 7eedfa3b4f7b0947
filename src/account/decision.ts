// The buttons of an account page all send `decision`; what a page does not have is refused, so that nothing happens by default.
import { HttpError } from '#src/http/http-error.ts'

/** @throws HttpError 400 */
export function refuseDecision(): never {
  throw new HttpError({
    status: 400,
    error: 'invalid_request',
    description: 'The field decision names nothing that this page does.',
    screen: 'interrupted',
  })
}
