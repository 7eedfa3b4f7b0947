// The codes and tokens there are, as the `kind` column stores them. Numbers are never reused.
export const tokenKinds = {
  AccessToken: 1,
  RefreshToken: 2,
  AuthorizationCode: 3,
  ClientCredentials: 4,
  DeviceCode: 5,
  BackchannelAuthenticationRequest: 6,
  PushedAuthorizationRequest: 7,
  InitialAccessToken: 8,
  RegistrationAccessToken: 9,
} as const

export type TokenKind = keyof typeof tokenKinds
