// What kinds of application there are and what follows from the kind. The words of the declarative file and the API.

export const clientTypes = ['web', 'spa', 'native', 'service', 'device'] as const
export type ClientType = (typeof clientTypes)[number]

export const clientProfiles = ['default', 'high', 'fapi2'] as const

/** required: whoever signs in to the client proves a second factor. optional: who has one does. */
export const secondFactorPolicies = ['optional', 'required'] as const

export const idTokenAlgorithms = ['ES256', 'EdDSA', 'RS256'] as const

/** RFC 8693. For clients that can show who they are. */
export const tokenExchange = 'urn:ietf:params:oauth:grant-type:token-exchange'

/** By type: the grants it may use, how it authenticates, whether a person's browser comes back to it.
 *  A secret inside a page, an app or a device can be read by whoever holds it, so those have none (RFC 8252 8.5). */
export const typeRules: Record<
  ClientType,
  {
    grantTypes: readonly string[]
    /** What it has only where somebody names it. */
    furtherGrantTypes: readonly string[]
    tokenEndpointAuthMethod: string
    redirects: boolean
    person: boolean
  }
> = {
  web: {
    grantTypes: ['authorization_code', 'refresh_token'],
    furtherGrantTypes: [tokenExchange],
    tokenEndpointAuthMethod: 'client_secret_basic',
    redirects: true,
    person: true,
  },
  spa: {
    grantTypes: ['authorization_code', 'refresh_token'],
    furtherGrantTypes: [],
    tokenEndpointAuthMethod: 'none',
    redirects: true,
    person: true,
  },
  native: {
    grantTypes: ['authorization_code', 'refresh_token'],
    furtherGrantTypes: [],
    tokenEndpointAuthMethod: 'none',
    redirects: true,
    person: true,
  },
  service: {
    grantTypes: ['client_credentials'],
    furtherGrantTypes: [tokenExchange],
    tokenEndpointAuthMethod: 'client_secret_basic',
    redirects: false,
    person: false,
  },
  device: {
    grantTypes: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
    furtherGrantTypes: [],
    tokenEndpointAuthMethod: 'none',
    redirects: false,
    person: true,
  },
}

export const hasSecret = (type: ClientType): boolean => typeRules[type].tokenEndpointAuthMethod !== 'none'
