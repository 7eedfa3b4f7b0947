// The buttons of an account or console page all send `decision`; what it does not have is refused, so that nothing happens by default.
import { HttpError } from './http-error.ts'

/** @throws HttpError 400 */
export function refuseDecision(): never {
  throw new HttpError({
    status: 400,
    error: 'invalid_request',
    description: 'The field decision names nothing that this page does.',
    screen: 'interrupted',
  })
}
