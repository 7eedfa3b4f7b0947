// May this caller do this to that? Asked of the server, which knows roles, policies and relations (OpenID AuthZEN Authorization API 1.0).
import type { Caller } from './caller.ts'
import { basic, type Issuer, IssuerTrouble } from './issuer.ts'

export type ObjectRef = Readonly<{ type: string; id: string; properties?: Readonly<Record<string, unknown>> }>

export type Evaluate = (
  caller: Caller,
  action: string,
  object: ObjectRef,
  context?: Readonly<Record<string, unknown>>,
) => Promise<boolean>

/** @returns a function that rejects when the server cannot be asked: trouble is not a no. */
export function createEvaluation(settings: {
  issuer: Issuer
  audience: string
  clientId: string
  clientSecret: string
}): Evaluate {
  const { issuer, audience } = settings
  const authorization = basic(settings)
  return async (caller, action, object, context) => {
    // The server is told who is calling, not with what. So what the credential was not given is refused here: a token for reading does
    // not write because its owner might.
    if (!caller.scopes.includes(action)) return false
    const { decision } = await issuer.post(
      issuer.evaluationEndpoint,
      { authorization },
      {
        subject: { type: caller.type, id: caller.id },
        action: { name: action },
        resource: object,
        context: { ...context, audience }, // several APIs may have an action of this name
      },
    )
    if (typeof decision !== 'boolean') throw new IssuerTrouble('the evaluation has no decision')
    return decision
  }
}
