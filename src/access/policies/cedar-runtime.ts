// The Cedar engine, WebAssembly, as one process holds it: loaded at the first call (a server without policies never pays its 15 MB),
// thrown away at the first trap. A trap leaves an instance in pieces: its stack pointer is not put back, and every later call would
// fail, or worse, answer. What is known to trap is refused before (text.ts).
//
// Preparsed sets live inside the instance under names, and cannot be dropped. So there is a bounded number of names, and a name that is
// free again holds the empty set.
import { createRequire } from 'node:module'
import type * as Cedar from '@cedar-policy/cedar-wasm/nodejs'
import { LRUCache } from 'lru-cache'

type CedarModule = typeof Cedar

/** A preparsed policy weighs about 6 KB: this many over all sets are 70 MB at most. */
const mostPreparsedPolicies = 12_000
const mostSets = 2_000

const require = createRequire(import.meta.url)
const path = '@cedar-policy/cedar-wasm/nodejs'

let instance: CedarModule | undefined
let freeNames: string[] = []
let namesGiven = 0

type Preparsed = Readonly<{
  name: string
  size: number
  /** Every string that its policies have between quotation marks; undefined where one has an escape, and could mean any. */
  literals: ReadonlySet<string> | undefined
}>

const sets = new LRUCache<string, Preparsed>({
  max: mostSets,
  maxSize: mostPreparsedPolicies,
  sizeCalculation: ({ size }) => size,
  dispose: ({ name }) => {
    if (!instance) return
    instance.preparsePolicySet(name, { staticPolicies: {} })
    freeNames.push(name)
  },
})

/** The engine itself failed: what it would have said is not known. */
export class CedarFailure extends Error {
  override name = 'CedarFailure'
}

/** @throws CedarFailure after which the next call starts a new instance. */
export function withCedar<T>(call: (cedar: CedarModule) => T): T {
  try {
    instance ??= require(path) as CedarModule
    return call(instance)
  } catch (error) {
    discard()
    throw new CedarFailure('the policy engine failed', { cause: error })
  }
}

/** @param key says what is in the set, for good. @param size how many policies. @throws CedarFailure, also for a policy that does not parse */
export function preparsed(key: string, policies: () => Record<string, string>, size: number): Preparsed {
  const known = sets.get(key)
  if (known) return known
  if (size > mostPreparsedPolicies) throw new CedarFailure('one question concerns too many policies')
  return withCedar((cedar) => {
    const name = freeNames.pop() ?? `set ${namesGiven++}`
    const texts = policies()
    const answer = cedar.preparsePolicySet(name, { staticPolicies: texts })
    if (answer.type === 'failure') throw new Error(answer.errors.map(({ message }) => message).join('; '))
    const set = { name, size: Math.max(size, 1), literals: literalsOf(Object.values(texts)) }
    sets.set(key, set)
    return set
  })
}

function literalsOf(texts: readonly string[]): ReadonlySet<string> | undefined {
  if (texts.some((text) => text.includes('\\'))) return undefined
  return new Set(texts.flatMap((text) => [...text.matchAll(/"([^"]*)"/g)].map(([, literal = '']) => literal)))
}

/** How much of it there is, for tests and for whoever looks for memory. */
export function cedarUsage(): { loaded: boolean; sets: number; policies: number; names: number } {
  return { loaded: instance !== undefined, sets: sets.size, policies: sets.calculatedSize, names: namesGiven }
}

function discard(): void {
  instance = undefined
  sets.clear()
  freeNames = []
  namesGiven = 0
  delete require.cache[require.resolve(path)]
}
