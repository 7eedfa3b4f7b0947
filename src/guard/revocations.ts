// Follows the issuer's feed of revocations, so that a JWT that was revoked is refused before it expires.
type Entry = { kind: string; target: string; issuedBefore: number }
type Claims = { jti?: unknown; grant_id?: unknown; sub?: unknown; client_id?: unknown; aud?: unknown; iat?: unknown }

const everyMs = 1_000
/** No access token lives longer. */
const longestSeconds = 86_400

export type Revocations = {
  isRevoked(claims: Claims): boolean
  /** True while the feed is out of reach: who refuses to guess refuses then. */
  isBlind(): boolean
  stop(): void
}

type Options = {
  /** Milliseconds without news after which nobody can say what was revoked. */
  patienceMs?: number
  fetch?: typeof fetch
  report?: (trouble: unknown) => void
}

/** @returns when the whole feed has been read: a process that serves earlier takes what its neighbours refuse. */
export async function followRevocations(issuer: string, apiKey: string, options: Options = {}): Promise<Revocations> {
  const { patienceMs = 5_000, fetch: ask = fetch, report = () => undefined } = options
  const issuedBefore = new Map<string, number>()
  let cursor: string | undefined
  let heardAt = 0
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  async function read(): Promise<void> {
    for (let more = true; more; ) {
      const address = new URL(`${issuer}/api/v1/revocations?limit=1000`)
      if (cursor !== undefined) address.searchParams.set('after', cursor)
      const response = await ask(address, {
        headers: { 'X-API-Key': apiKey },
        redirect: 'error',
        signal: AbortSignal.timeout(3_000),
      })
      if (!response.ok) {
        await response.body?.cancel()
        throw new Error(`the feed of revocations answered ${response.status}`)
      }
      const { data, next } = (await response.json()) as { data: Entry[]; next: string }
      for (const { kind, target, issuedBefore: moment } of data) {
        const name = `${kind} ${target}`
        issuedBefore.set(name, Math.max(moment, issuedBefore.get(name) ?? 0))
      }
      more = next !== cursor
      cursor = next
    }
    heardAt = Date.now()
    for (const [name, moment] of issuedBefore)
      if (moment < heardAt / 1000 - longestSeconds - 600) issuedBefore.delete(name)
  }

  async function goOn(): Promise<void> {
    await read().catch(report)
    if (!stopped) timer = setTimeout(goOn, everyMs).unref()
  }

  await read()
  timer = setTimeout(goOn, everyMs).unref()

  return {
    isBlind: () => Date.now() - heardAt > patienceMs,
    isRevoked({ jti, grant_id, sub, client_id, aud, iat }) {
      if (issuedBefore.size === 0) return false
      if (issuedBefore.has(`token ${jti}`) || issuedBefore.has(`grant ${grant_id}`)) return true
      const names = [`user ${sub}`, `client ${client_id}`, ...[aud].flat().map((api) => `api ${api}`), 'all *']
      return names.some((name) => Number(iat) <= (issuedBefore.get(name) ?? -1))
    },
    stop() {
      stopped = true
      clearTimeout(timer)
    },
  }
}
