// The list, in the order of the report.
import {
  clientCredentialsJwt,
  clientCredentialsOpaque,
  introspectionJwt,
  introspectionOpaque,
  revocation,
} from './client-credentials.ts'
import { codeFlow, passwordLogin, refresh } from './code-flow.ts'
import { discovery, hello, jwks } from './documents.ts'
import type { Scenario } from './scenario.ts'

export const scenarios: readonly Scenario[] = [
  hello,
  discovery,
  jwks,
  clientCredentialsJwt,
  clientCredentialsOpaque,
  introspectionOpaque,
  introspectionJwt,
  refresh,
  codeFlow,
  passwordLogin,
  revocation,
]
