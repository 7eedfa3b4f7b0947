// The first door: whom does a credential stand for? Every kind of credential comes through here, whoever asks (our own endpoints, AuthZEN,
// gateways), and is judged in one order: found, signature, time, revoked, audience, accepted. The form was judged where it was read
// (http/credentials.ts). A token that is bound to a key counts with that key only (possession.ts). Public answers never tell these reasons apart; receipts do.
import { type ApiKeyFlaw, explainApiKey, findApiKey } from '#src/access/api-keys/reads.ts'
import type { Credential, Subject } from '#src/access/decide.ts'
import { type Reason, type Refused, stopped } from '#src/access/gates.ts'
import type { ApiRecord } from '#src/apis/apis.ts'
import { verifyClientSecret } from '#src/clients/secrets.ts'
import type { ClientRecord } from '#src/clients/settings.ts'
import type { Database } from '#src/db/database.ts'
import { acrValues, asLevel, reaches } from '#src/factors/assurance.ts'
import type { Credential as Shown } from '#src/http/credentials.ts'
import type { JudgedToken } from '#src/tokens/find.ts'
import type { FindToken } from './own-tokens.ts'
import type { Possession, Possessions } from './possession.ts'
import { allowedScopes } from './snapshot.ts'

export type IdentifyDeps = Readonly<{
  database: Database
  findToken: FindToken
  possessions: Possessions
  /** undefined for unknown and disabled clients. */
  findClient(id: string): Promise<ClientRecord | undefined>
  now: () => Date
}>

/** `owner`: whose client it was, where that is known: they may read why it was refused. */
export type Identified =
  | { subject: Subject; actor: Actor; refused?: undefined; owner: string | undefined }
  | { subject?: undefined; refused: Refused; owner: string | undefined }

/** Whom a record names. */
type Actor = { kind: 'user' | 'client' | 'api_key'; id: string }

const no = (reason: Reason, owner?: string): Identified => ({ refused: stopped(reason), owner })

/** @param api undefined: whom it stands for anywhere.
 *  @param possession of whoever shows it; undefined where somebody only asks about a credential: one that is bound to a key is nothing then. */
export async function identify(
  deps: IdentifyDeps,
  shown: Shown,
  api: ApiRecord | undefined,
  possession?: Possession,
): Promise<Identified> {
  switch (shown.kind) {
    case 'none':
      return no('none')
    case 'bearer':
      return shown.value.startsWith('sp_key_')
        ? byApiKey(deps, shown.value, api)
        : byToken(deps, shown, api, possession)
    case 'dpop':
      return byToken(deps, shown, api, possession)
    case 'api_key':
      return byApiKey(deps, shown.value, api)
    case 'basic':
      return bySecret(deps, shown, api)
    case 'other':
      return no('unknown')
  }
}

async function byToken(
  { findToken, possessions }: IdentifyDeps,
  { kind: scheme, value }: { kind: 'bearer' | 'dpop'; value: string },
  api: ApiRecord | undefined,
  possession: Possession | undefined,
): Promise<Identified> {
  const token = await findToken(value)
  if (typeof token === 'string') return no(token)
  if (token.over) return no(token.over, token.clientId)
  const flaw = await possessions.flawOf({ value, binding: token.binding }, { scheme, possession })
  if (flaw) return { refused: stopped(flaw.reason, flaw.needs), owner: token.clientId }
  if (api && token.audience !== api.identifier) return no('other_audience', token.clientId)
  return accepted(api, subjectOf(token), token.clientId)
}

function subjectOf(token: JudgedToken): Subject {
  const { userId, clientId, impersonatorId } = token
  const credential: Credential = {
    method: 'oauth',
    clientId,
    scopes: new Set(token.scopes),
    acrValues:
      userId === undefined || impersonatorId !== undefined
        ? []
        : acrValues.filter((level) => reaches(asLevel(token.acr), level)),
    amr: token.amr,
    authenticatedAt: token.authenticatedAt,
    impersonatorId,
    expiresAt: token.expiresAt,
  }
  return userId === undefined ? { kind: 'client', id: clientId, credential } : { kind: 'user', id: userId, credential }
}

async function byApiKey(
  { database, now }: IdentifyDeps,
  value: string,
  api: ApiRecord | undefined,
): Promise<Identified> {
  const key = await findApiKey(database, value, now())
  if (!key) {
    const explained = await explainApiKey(database, value, now())
    return no(reasonOfFlaw[explained.flaw ?? 'unknown'], explained.key?.clientId ?? undefined)
  }
  const owner = key.clientId ?? undefined
  const scopes = api ? key.apis[api.identifier] : []
  if (!scopes) return no('other_audience', owner)
  const { id, requestsPerMinute, expiresAt } = key
  const credential: Credential = {
    ...withoutSignIn('api_key', owner, scopes),
    expiresAt: expiresAt ?? undefined,
    key: { id, requestsPerMinute },
  }
  const subject = key.userId
    ? { kind: 'user', id: key.userId, credential }
    : { kind: 'client', id: owner ?? '', credential }
  return accepted(api, subject, owner, { kind: 'api_key', id: key.id })
}

const reasonOfFlaw: Record<ApiKeyFlaw, Reason> = {
  form: 'unknown',
  unknown: 'unknown',
  revoked: 'revoked',
  expired: 'expired',
  ended: 'revoked',
}

async function bySecret(
  { findClient, now }: IdentifyDeps,
  { clientId, clientSecret }: { clientId: string; clientSecret: string },
  api: ApiRecord | undefined,
): Promise<Identified> {
  const client = await findClient(clientId)
  // Only a client that acts for itself: the secret of a web application stands for no person.
  if (client?.type !== 'service' || !verifyClientSecret(client, clientSecret, now())) return no('unknown')
  const credential = withoutSignIn('basic', clientId, api ? allowedScopes(client, api.identifier) : [])
  return accepted(api, { kind: 'client', id: clientId, credential }, clientId)
}

/** Nobody signed in for it, so it is never a strong sign-in, nor a recent one. */
function withoutSignIn(
  method: Credential['method'],
  clientId: string | undefined,
  scopes: readonly string[],
): Credential {
  return {
    method,
    clientId,
    scopes: new Set(scopes),
    acrValues: [],
    amr: [],
    authenticatedAt: undefined,
    expiresAt: undefined,
  }
}

function accepted(
  api: ApiRecord | undefined,
  subject: Subject,
  owner: string | undefined,
  actor: Actor = { kind: subject.kind === 'user' ? 'user' : 'client', id: subject.id },
): Identified {
  if (api && !api.accept.includes(subject.credential?.method ?? '')) return no('not_accepted', owner)
  return { subject, actor, owner }
}
