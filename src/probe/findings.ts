// Everything that can be wrong with an API here, with why it matters and what mends it. The names are part of `--json`.

export type FindingKind = keyof typeof findingKinds

/** @param operation such as `GET /orders/{id}`. @param saw what happened, one for each credential that showed it. */
export type Finding = { kind: FindingKind; operation: string; saw: string[] }

/** The gravest first, behind the one that makes the others prove little. */
export const findingKinds = {
  good_token_refused: {
    title: 'a good token is refused with 401',
    reference: 'RFC 6750 3.1',
    why: 'A token of this issuer, for this API, with the scopes of the operation. As long as it is refused, nothing that is refused proves anything.',
    fix: 'Compare issuer and audience in the settings of the API with ISSUER_URL and --api.',
  },
  object_read: {
    title: 'B reads what is A’s',
    reference: 'OWASP API1:2023',
    why: 'Whoever has a token of their own reads everybody’s objects by counting. It is the most common breach of APIs.',
    fix: 'Ask whose it is where the row is read: WHERE owner = the subject of the token, or requireOwner of the guard.',
  },
  object_changed: {
    title: 'B changes what is A’s',
    reference: 'OWASP API1:2023',
    why: 'Whoever has a token of their own changes or deletes everybody’s objects.',
    fix: 'Change and check in one statement: … WHERE id = ? AND owner = the subject of the token.',
  },
  open: {
    title: 'answered without a credential',
    reference: 'OWASP API2:2023',
    why: 'The document says that this asks for a token, and nobody asks.',
    fix: 'Authenticate in front of every handler; write security: [] if everybody may call it.',
  },
  headers_believed: {
    title: 'the headers of a gateway are believed',
    reference: 'RFC 9700 4.13, OWASP API2:2023',
    why: 'Whoever reaches the API past its gateway, or through one that does not strip them, is whoever they write there.',
    fix: 'Check the credential in the API as well; listen only where the gateway alone can call, and let it strip X-Sallyport-….',
  },
  malformed_accepted: {
    title: 'a credential that is none is taken',
    reference: 'RFC 6750 3.1, OWASP API2:2023',
    why: 'That a header is there is no proof of anything.',
    fix: 'Refuse what cannot be read: 400 for a header without a token, 401 for a token that nobody knows.',
  },
  expired_accepted: {
    title: 'an expired token is taken',
    reference: 'RFC 9068 4',
    why: 'A token that leaks once works for ever, and whoever signed out goes on.',
    fix: 'Compare exp with the time, or ask introspection.',
  },
  tampered_accepted: {
    title: 'a token with a wrong signature is taken',
    reference: 'RFC 9068 4, OWASP API2:2023',
    why: 'Anybody can write a token that says anything: they are whoever they like.',
    fix: 'Verify the signature with the keys of the issuer before anything in the token is believed.',
  },
  unsigned_accepted: {
    title: 'a token without a signature is taken (alg: none)',
    reference: 'RFC 9068 4, RFC 8725 3.1',
    why: 'The token itself says how it is to be verified, and says: not at all.',
    fix: 'Fix the algorithms in the API, whatever the header of the token says.',
  },
  audience_ignored: {
    title: 'a token for another API is taken',
    reference: 'RFC 9068 4, RFC 8725 3.9',
    why: 'Every other API that is given tokens can use them here.',
    fix: 'Compare aud with the identifier of this API.',
  },
  scope_ignored: {
    title: 'a token without the scope is let through',
    reference: 'RFC 6750 3.1, OWASP API5:2023',
    why: 'What people agreed to, and what a client was registered for, limits nothing.',
    fix: 'Ask for the scope in front of the handler: authorize({ scopes }) of the guard.',
  },
  role_ignored: {
    title: 'a person without the role is let through',
    reference: 'OWASP API5:2023',
    why: 'What is meant for a few is open to everybody who has a token: calls for administrators are found by guessing.',
    fix: 'Ask for the role in front of the handler, or let can() of the guard ask the server; behind a gateway, probe the address of the gateway.',
  },
  sign_in_ignored: {
    title: 'a token without a fresh or strong sign-in is let through',
    reference: 'RFC 9470 3',
    why: 'A stolen token is enough where the document says that a person must have been there just now.',
    fix: 'Compare acr and auth_time of the token; answer 401 with insufficient_user_authentication.',
  },
  query_accepted: {
    title: 'a credential in the address is taken',
    reference: 'RFC 6750 5.3, RFC 9700 4.3.2',
    why: 'Addresses are kept in logs, histories and Referer headers, and a credential with them.',
    fix: 'Take credentials from the Authorization header only; answer 400.',
  },
  two_credentials_accepted: {
    title: 'two credentials at once are taken',
    reference: 'RFC 6750 2',
    why: 'A proxy may check one of them and the API believe the other.',
    fix: 'Refuse with 400 invalid_request what is not clearly one credential.',
  },
  forbidden_to_stranger: {
    title: '403 where 401 belongs',
    reference: 'RFC 9110 15.5.2',
    why: 'A client that hears 403 does not sign in again: people are stuck. And a stranger learns that there is something.',
    fix: 'Answer 401 with WWW-Authenticate until it is known who is calling.',
  },
  unauthorized_to_known: {
    title: '401 where 403 belongs',
    reference: 'RFC 9110 15.5.4, RFC 6750 3.1',
    why: 'The token is good. A client that hears 401 fetches a new one that helps as little, again and again.',
    fix: 'Answer 403, with insufficient_scope where a scope is missing.',
  },
  challenge_missing: {
    title: 'WWW-Authenticate is missing',
    reference: 'RFC 9110 11.6.1, RFC 6750 3',
    why: 'It tells clients what to send, and whether a new token will help.',
    fix: 'Send it with every 401, and with a 403 for a missing scope.',
  },
  challenge_wrong: {
    title: 'WWW-Authenticate says the wrong thing',
    reference: 'RFC 6750 3.1',
    why: 'Clients act by its error: invalid_token means a new token, insufficient_scope means another one, none means that none was sent.',
    fix: 'Bearer without an error where nothing was sent; invalid_token with a 401; insufficient_scope with its 403.',
  },
  server_error: {
    title: 'the API fails',
    reference: 'OWASP API8:2023',
    why: 'What a stranger sends should never be a fault of the server: it hides attacks, and says 500 where a client waits for 401.',
    fix: 'Look into the log of the API; a credential that cannot be read is 400 or 401.',
  },
} as const satisfies Record<string, { title: string; reference: string; why: string; fix: string }>
