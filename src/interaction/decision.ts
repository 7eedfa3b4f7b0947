// The buttons of the sign-in pages that are not "go on": one field, `decision`, with values that each page lists.
import type { Form } from '#src/http/form.ts'
import { HttpError } from '#src/http/http-error.ts'

/** @param others what this page knows besides `deny`. @throws HttpError 400 for a value that is not among them */
export function readDecision<Other extends string>(
  form: Form,
  others: readonly Other[] = [],
): Other | 'deny' | undefined {
  const decision = form.get('decision')
  if (decision === undefined || decision === 'deny') return decision
  const known = others.find((other) => other === decision)
  if (known !== undefined) return known
  throw new HttpError({
    status: 400,
    error: 'invalid_request',
    description: `The field decision may only be ${['deny', ...others].map((value) => `"${value}"`).join(' or ')} here.`,
    screen: 'interrupted',
  })
}
