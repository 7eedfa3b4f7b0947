// Everything that is sealed under SECRET_KEY, in one list: where it lies and what it is bound to. Whoever seals something new adds a line here;
// test/keys/sealed-values.test.ts fails until they do. How values move from one key to the next is seal-rotation.ts.

/** Values in rows. They can be sealed anew, because the row says what they are bound to. */
export type SealedPlace = Readonly<{
  /** For operators, in the plural. */
  what: string
  purpose: string
  table: string
  key: string
  keyType: 'uuid' | 'text' | 'bytea'
  /** `json`: one field of a column that is JSON. `bytes`: not as base64url, but as what it stands for. */
  column: { text: string } | { bytes: string } | { json: string; field: string }
  /** SQL: which rows. */
  only?: string
  /** @param key of a bytea: hex, without anything before it. */
  context(key: string): string
}>

const itself = (key: string) => key
const credential = {
  table: 'credential',
  key: 'id',
  keyType: 'uuid',
  column: { text: 'secret' },
  context: itself,
} as const
const interaction = (field: string, what: string): SealedPlace => ({
  what,
  purpose: 'interaction',
  table: 'interaction',
  key: 'id',
  keyType: 'bytea',
  column: { json: 'payload', field },
  context: (key) => `\\x${key} ${field}`,
})

export const sealedPlaces: readonly SealedPlace[] = [
  {
    ...{ what: 'signing keys', purpose: 'signing-key', table: 'signing_key', key: 'kid', keyType: 'text' },
    column: { bytes: 'private_jwk' },
    context: itself,
  },
  { what: 'seeds of authenticator apps', purpose: 'totp', only: `kind = 'totp'`, ...credential },
  { what: 'phone numbers', purpose: 'phone', only: `kind = 'phone'`, ...credential },
  { what: 'references of devices', purpose: 'push', only: `kind = 'push'`, ...credential },
  {
    ...{ what: 'mails that wait', purpose: 'mail', table: 'mail', key: 'id', keyType: 'uuid' },
    column: { text: 'sealed' },
    context: itself,
  },
  {
    ...{
      what: 'addresses to be proven',
      purpose: 'address-proof',
      table: 'address_proof',
      key: 'id',
      keyType: 'bytea',
    },
    column: { text: 'sealed' },
    context: itself,
  },
  {
    ...{
      what: 'sessions at the sign-out page',
      purpose: 'session-state',
      table: 'session',
      key: 'uid',
      keyType: 'text',
    },
    column: { json: 'payload', field: 'state' },
    context: itself,
  },
  {
    ...{ what: 'secrets of webhooks', purpose: 'webhook', table: 'webhook_endpoint', key: 'id', keyType: 'uuid' },
    column: { text: 'secret' },
    context: itself,
  },
  {
    ...{ what: 'secrets of webhooks', purpose: 'webhook', table: 'webhook_endpoint', key: 'id', keyType: 'uuid' },
    column: { text: 'previous_secret' },
    context: itself,
  },
  interaction('returnTo', 'pending requests'),
  interaction('deviceCode', 'pending requests of devices'),
  interaction('parJti', 'pending requests that were pushed'),
  {
    ...{ what: 'answers kept for a repeated request', purpose: 'idempotent-answer' },
    ...{ table: 'idempotent_request', key: 'id', keyType: 'bytea' },
    column: { text: 'answer' },
    context: (key) => Buffer.from(key, 'hex').toString('base64url'),
  },
]

/** Values that are not in a row, or in one that does not say what they are bound to. They stay under the key they were made under, and with it they
 *  go: each for the reason given, none after longer than a session lasts. */
export const passingSeals: Readonly<Record<string, string>> = {
  'sign-in':
    'the seed, codes or number of a sign-in under way: bound to the address of the request, of which the row has only a digest; an hour',
  'account-totp': 'the seed in the form that sets up an app: in the page; a quarter of an hour',
  trial: 'state, verifier and secret of a trial in the console: in a cookie, bound to the session; ten minutes',
  'gateway-begin': 'where a browser was going before it was sent to sign in: in the address; minutes',
  'gateway-code': 'the way back to a protected host: in the address; a minute',
  'gateway-session':
    'the cookie of a protected host: the browser goes by the sign-in page again, where its session is still known',
}
