// RFC 9728: what the API says about itself, so that a client that was refused can find out where to get a token.

export type ResourceMetadata = Readonly<{ url: string; path: string; body: Readonly<Record<string, unknown>> }>

const wellKnown = '/.well-known/oauth-protected-resource'

/** RFC 9728 3.1: the well-known part goes between the host and the path of the resource identifier.
 *  @returns undefined where the API has no address to be found at. */
export function describeResource(settings: {
  publicUrl: string | undefined
  audience: string
  issuer: string
  dpop: { required: boolean; algorithms: readonly string[] } | undefined
  more: Readonly<Record<string, unknown>>
}): ResourceMetadata | undefined {
  const { publicUrl, audience, issuer, dpop, more } = settings
  if (publicUrl === undefined) return undefined
  const pathname = URL.canParse(audience) && /^https?:/.test(audience) ? new URL(audience).pathname : '/'
  const path = `${wellKnown}${pathname === '/' ? '' : pathname}`
  return {
    url: new URL(path, publicUrl).href,
    path,
    body: {
      resource: audience,
      authorization_servers: [issuer],
      bearer_methods_supported: ['header'],
      ...(dpop && {
        dpop_signing_alg_values_supported: dpop.algorithms,
        dpop_bound_access_tokens_required: dpop.required,
      }),
      ...more,
    },
  }
}
