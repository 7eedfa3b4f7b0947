// One operation, asked with each credential in turn. What depends on another answer comes after it: nobody, then a good token, then the bad ones.
// An operation that answers nobody with 200 has one finding; the others would only repeat it.
import type { ApiRecord } from '#src/apis/apis.ts'
import type { Credentials } from './credentials.ts'
import type { FindingKind } from './findings.ts'
import { fill, type KnownObjects } from './objects.ts'
import type { Findings } from './report.ts'
import { isSafe, type Target } from './targets.ts'
import type { Cast } from './throwaways.ts'
import {
  type BadCredential,
  type Baseline,
  badCredentials,
  isJudged,
  isSuccess,
  judgeBad,
  judgeEmpty,
  judgeGood,
  judgeHeaders,
  judgeLacking,
  judgeMisplaced,
  judgeOther,
  judgeStranger,
  judgeWithoutScope,
} from './verdicts.ts'
import type { Answer, Wire } from './wire.ts'

type Headers = readonly (readonly [string, string])[]
type Probing = {
  wire: Wire
  credentials: Credentials
  cast: Cast
  objects: KnownObjects
  found: Findings
  api: ApiRecord
  targets: readonly Target[]
}

/** @throws ProbeStopped, NothingMinted */
export async function probeOperation(target: Target, probing: Probing): Promise<void> {
  const { credentials, found, objects } = probing
  const { name, scopes } = target
  const reach = fill(target, objects)
  const note = (text: string) => found.note({ operation: name, note: text })
  const asking = createAsking(target, probing)
  const { ask, find } = asking

  // Nobody is to be refused, so it would be done.
  if (target.anonymous && !isSafe(target)) return note('Is for everybody, and may change something: not called.')
  const none = await ask('no credential', [])
  found.probed(isJudged(none))
  if (target.anonymous) {
    if (none.status >= 500) find('server_error', 'no credential', none)
    if (none.status === 401 || none.status === 403) note(`Is for everybody, and answered ${none.status}.`)
    return
  }
  find(judgeStranger(none), 'no credential', none)
  if (isSuccess(none)) return

  // What changes something is not done with a good token: nobody could undo it.
  let good: Answer | undefined
  const isLacking = target.asksRole || target.asksSignIn
  if (isLacking) await askLacking(target, probing, asking)
  else if (isSafe(target)) {
    good = await ask('a good token of A', [bearer(await credentials.good('a', scopes))])
    find(judgeGood(good), 'a good token of A', good)
    if (good.status === 401) return
    if (reach.owned.length > 0 && !isSuccess(good))
      note(
        `A was refused ${reach.owned.join(', ')} (${good.status}), which is to be theirs: that B is refused proves less.`,
      )
    if (target.parameters.length === 0 && isRefusal(good))
      note(`${good.status} with a good token of A: what else is refused proves less.`)
  }
  const baseline = { none, good }

  if (reach.owned.length > 0 && !isLacking) await askAsOther(target, probing, asking)
  const open = target.parameters.at(-1)
  if (open && reach.owned.length === 0 && !isLacking)
    note(
      `Whether B reaches what is A’s was not tried: name an object, such as --object ${open.segment || open.name}=ID.`,
    )
  await askWithBad(target, probing, asking, baseline)
  await askWithHeaders(target, probing, asking, baseline)
  await askMisplaced(target, probing, asking, baseline)
  await askWithoutScope(target, probing, asking)
}

type Asking = ReturnType<typeof createAsking>

function createAsking(target: Target, { wire, objects, found }: Probing) {
  const { name, method, body } = target
  const filled = fill(target, objects).path
  return {
    filled,
    async ask(as: string, headers: Headers, path = filled): Promise<Answer> {
      const answer = await wire.call({ method, path, headers: [...target.headers, ...headers], body })
      if (answer.failed !== undefined) found.note({ operation: name, note: `No answer with ${as}: ${answer.failed}.` })
      if (answer.status >= 300 && answer.status < 400)
        found.note({ operation: name, note: `${answer.status} with ${as}: not followed, so not judged.` })
      if (answer.status === 429)
        found.note({ operation: name, note: `429 with ${as}: not judged. A lower --rate may help.` })
      // RFC 9110 15.5.5: it may also hide that there is something, but then it would answer 401 first.
      if (answer.status === 404 && headers.length === 0 && path === filled)
        found.note({ operation: name, note: `404 with ${as}: nobody was asked who they are. Is --url right?` })
      return answer
    },
    find(kind: FindingKind | undefined, as: string, { status }: Answer): void {
      if (kind !== undefined) found.add({ kind, operation: name, saw: `${status} with ${as}` })
    },
  }
}

/** What is for a few, asked by somebody who is not one of them. */
async function askLacking(target: Target, { credentials, found }: Probing, { ask, find }: Asking): Promise<void> {
  const as = target.asksRole ? 'a good token of A, who lacks the role' : 'a good token of A, who did not sign in'
  const answer = await ask(as, [bearer(await credentials.good('a', target.scopes))])
  find(judgeLacking(answer, target), as, answer)
  if (target.parameters.length > 0)
    found.note({
      operation: target.name,
      note: 'Asks for a role or a sign-in that A and B have none of: whether B reaches what is A’s was not tried.',
    })
}

/** B has a token of the same kind, and no business with what is A's. */
async function askAsOther(target: Target, probing: Probing, { ask, find }: Asking): Promise<void> {
  const as = 'a good token of B at what is A’s'
  const answer = await ask(as, [bearer(await probing.credentials.good('b', target.scopes))])
  // `DELETE … WHERE id = ? AND owner = ?` may answer 204 although nothing happened: whether A's object is still there says more.
  if (target.method === 'DELETE' && isSuccess(answer) && (await isStillThere(target, probing))) return
  find(judgeOther(answer, !isSafe(target)), as, answer)
}

async function isStillThere({ path }: Target, { wire, credentials, objects, targets }: Probing): Promise<boolean> {
  const reading = targets.find((one) => one.method === 'GET' && one.path === path)
  if (!reading) return false
  const headers = [...reading.headers, bearer(await credentials.good('a', reading.scopes))]
  return isSuccess(await wire.call({ method: 'GET', path: fill(reading, objects).path, headers }))
}

async function askWithBad(
  { name, scopes }: Target,
  { credentials, found }: Probing,
  { ask, find }: Asking,
  baseline: Baseline,
) {
  const empty = await ask('Bearer without a token', [['Authorization', 'Bearer']])
  find(judgeEmpty(empty, baseline), 'Bearer without a token', empty)
  for (const kind of Object.keys(badCredentials) as BadCredential[]) {
    const { what } = badCredentials[kind]
    const answer = await ask(what, [bearer(await credentials.bad(kind, scopes))])
    find(judgeBad(kind, answer, baseline), what, answer)
    if (answer.status === 400)
      found.note({
        operation: name,
        note: '400 with bad tokens: not judged. An example of what it accepts, in the document, may help.',
      })
  }
}

/** As a gateway writes them (gate/forward.ts), and none is in between. */
async function askWithHeaders({ scopes }: Target, { cast }: Probing, { ask, find }: Asking, baseline: Baseline) {
  const as = 'the headers of a gateway, and no credential'
  const answer = await ask(as, [
    ['X-Sallyport-User', cast.a.id],
    ['X-Sallyport-Client', cast.client.id],
    ['X-Sallyport-Scopes', scopes.join(' ')],
    ['X-Sallyport-Method', 'access_token'],
  ])
  find(judgeHeaders(answer, baseline), as, answer)
}

/** In the address, and two at once; with API keys where the API takes them. */
async function askMisplaced({ scopes }: Target, probing: Probing, { ask, find, filled }: Asking, baseline: Baseline) {
  const { credentials, cast, api } = probing
  const [a, b] = [await credentials.good('a', scopes), await credentials.good('b', scopes)]
  const takesKeys = api.accept.includes('api_key')
  const inAddress = {
    'a token in the address': ['access_token', a],
    'an API key in the address': ['api_key', cast.a.key],
  }
  const twice: Record<string, Headers> = {
    'two tokens, of A and of B': [bearer(a), bearer(b)],
    'a token of A and a key of B': [bearer(a), ['X-API-Key', cast.b.key]],
  }
  const tried = <T>(all: Record<string, T>) => Object.entries(all).slice(0, takesKeys ? 2 : 1)
  for (const [as, [field, value]] of tried(inAddress)) {
    const answer = await ask(as, [], `${filled}${filled.includes('?') ? '&' : '?'}${field}=${value}`)
    find(judgeMisplaced('query_accepted', answer, baseline), as, answer)
  }
  for (const [as, headers] of tried(twice)) {
    const answer = await ask(as, headers)
    find(judgeMisplaced('two_credentials_accepted', answer, baseline), as, answer)
  }
}

async function askWithoutScope({ name, scopes }: Target, { credentials, found }: Probing, { ask, find }: Asking) {
  if (scopes.length === 0) return
  const as = `a token without ${scopes.join(' ')}`
  const token = await credentials.without(scopes)
  if (token === undefined)
    found.note({
      operation: name,
      note: `Not tried with ${as}: the API has no other scope, and its tokens are opaque.`,
    })
  else {
    const answer = await ask(as, [bearer(token)])
    find(judgeWithoutScope(answer), as, answer)
  }
}

const isRefusal = ({ status }: Answer): boolean => status >= 400 && status < 500 && status !== 429
const bearer = (token: string) => ['Authorization', `Bearer ${token}`] as const
