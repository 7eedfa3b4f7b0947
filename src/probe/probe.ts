// `sallyport probe`: shows an API what people and attackers will show it, and tells what it lets through. It works on a real installation with real
// tokens, so what it may do is narrow: APIs on this machine unless somebody says that another is theirs, reading unless somebody says
// otherwise, and nothing that it made stays.
//
//   the plan is checked -> one probe at a time (a lock) -> what a killed one left is removed -> people, keys, client (throwaways.ts)
//   -> objects of A's (objects.ts) -> each operation with each credential (operation.ts) -> objects and people are removed -> the report
import { type ApiRecord, findApi } from '#src/apis/apis.ts'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database } from '#src/db/database.ts'
import { tryHeldLock } from '#src/db/held-lock.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import type { OpenapiDocument } from '#src/openapi/document.ts'
import { type Flaw, quote, Refusal } from '#src/refusal.ts'
import { createCredentials } from './credentials.ts'
import { checkObjects, makeObjects, type ObjectPlan, type Undo } from './objects.ts'
import { probeOperation } from './operation.ts'
import { giveObjects } from './relations.ts'
import { createFindings, type Report } from './report.ts'
import { isSafe, type Target, targetsOf } from './targets.ts'
import { mint, removeThrowaways } from './throwaways.ts'
import { createWire, ProbeStopped, usualLimits, type WireLimits } from './wire.ts'

export type ProbePlan = Readonly<{
  document: OpenapiDocument
  /** The paths of the document stand behind it. */
  url: string
  /** The API's identifier here. */
  api: string
  objects: ObjectPlan
  /** Also methods that change something. */
  unsafe: boolean
  /** An address that is not on this machine is whoever's says so. */
  isMine: boolean
  limits?: Partial<WireLimits>
}>

export type ProbeDeps = Readonly<{
  database: Database
  secretKeys: SecretKeys
  /** Where the server answers that issues the tokens. */
  issuer: string
  change: () => Change
}>

/** The plan cannot be carried out as it is. Nothing was made, and nothing was called. */
export class InvalidProbe extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

/** Somebody else probes at this moment, and what is left by one cannot be told from what another one uses. */
export class ProbeRunning extends Error {
  override name = 'ProbeRunning'
}

const probeLock = [7_270_748, 1] as const

/** @param stop ends it early; what was made is removed all the same, and what was found is told.
 *  @param progress told of every operation. @throws InvalidProbe, ProbeRunning, NothingMinted */
export async function runProbe(
  deps: ProbeDeps,
  plan: ProbePlan,
  stop: AbortSignal,
  progress?: (done: number, of: number) => void,
): Promise<Report> {
  const { database, change } = deps
  const { targets, notes } = targetsOf(plan.document)
  const { api, url } = await checkPlan(database, plan, targets)
  const lock = await tryHeldLock(database, probeLock, { silenceSeconds: 30 })
  if (!lock) throw new ProbeRunning('Another probe is running here: wait for its end.')
  try {
    const left = await removeThrowaways(database, change())
    await record(deps, 'probe.started', plan, { left })
    const found = createFindings(notes)
    const wire = createWire(url, { ...usualLimits, ...plan.limits }, AbortSignal.any([stop, lock.lost]))
    let stopped: string | undefined
    try {
      await probeAll(deps, { plan, api, targets, found, wire, progress })
    } catch (error) {
      if (!(error instanceof ProbeStopped)) throw error
      stopped = error.message
    } finally {
      const removed = await removeThrowaways(database, change())
      await record(deps, 'probe.ended', plan, { removed, requests: wire.requests, findings: found.findings().length })
    }
    return {
      ...{ url: plan.url, api: plan.api, requests: wire.requests, stopped: stopped ?? null },
      ...{ findings: found.findings(), notes: found.notes(), ...found.operations() },
    }
  } finally {
    await lock.release()
  }
}

async function probeAll(
  deps: ProbeDeps,
  run: {
    plan: ProbePlan
    api: ApiRecord
    targets: readonly Target[]
    found: ReturnType<typeof createFindings>
    wire: ReturnType<typeof createWire>
    progress: ((done: number, of: number) => void) | undefined
  },
): Promise<void> {
  const { database, issuer, secretKeys, change } = deps
  const { plan, api, targets, found, wire } = run
  const scopes = [...new Set(targets.flatMap((target) => target.scopes))]
  const cast = await mint(database, api, scopes, change())
  const credentials = createCredentials({ database, secretKeys, issuer, now: () => change().now }, cast, api.identifier)
  const token = (asked: readonly string[]) => credentials.good('a', asked)
  const undo: Undo[] = []
  try {
    const made = await makeObjects(plan.objects, cast.a.id, { wire, targets, token }, undo)
    const { objects } = made
    found.note(...made.notes)
    await giveObjects(database, targets, objects, cast.a.id, change())
    for (const [done, target] of targets.entries()) {
      run.progress?.(done, targets.length)
      if (plan.unsafe || isSafe(target))
        await probeOperation(target, { wire, credentials, cast, objects, found, api, targets })
      else found.note({ operation: target.name, note: 'Not called, because it may change something: see --unsafe.' })
    }
  } finally {
    for (const takeAway of undo) found.note(...(await takeAway()))
  }
}

async function checkPlan(
  database: Database,
  plan: ProbePlan,
  targets: readonly Target[],
): Promise<{ api: ApiRecord; url: URL }> {
  const flaws: Flaw[] = []
  const url = URL.parse(plan.url)
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash)
    flaws.push({
      field: 'url',
      problem: `(${quote(plan.url)}) is not where an API answers`,
      fix: 'Write it such as http://localhost:4002, with what stands before every path, and without a query.',
    })
  else if (!plan.isMine && !isLoopback(url.hostname))
    flaws.push({
      field: 'url',
      problem: `(${quote(url.host)}) is not on this machine`,
      fix: 'Probe only what is yours: if it is, add --yes-this-is-mine.',
    })
  const api = await findApi(database.prisma, plan.api)
  if (!api)
    flaws.push({
      field: 'api',
      problem: `is ${quote(plan.api)}, which is not an API here`,
      fix: 'See: sallyport apis list.',
    })
  else {
    const known = new Set(api.scopes.map(({ name }) => name))
    if (api.builtIn || !api.accept.includes('oauth') || known.size === 0)
      flaws.push({
        field: 'api',
        problem: `(${quote(plan.api)}) cannot be probed`,
        fix: 'It must be an API of yours that takes tokens (accept: oauth) and has a scope.',
      })
    for (const target of targets)
      for (const scope of target.scopes)
        if (!known.has(scope))
          flaws.push({
            field: target.name,
            problem: `asks for ${quote(scope)}, which is not a scope of that API`,
            fix: 'Add it to the API, or correct the document.',
          })
  }
  if (targets.length === 0)
    flaws.push({
      field: plan.document.place,
      problem: 'has no operation that says what it asks',
      fix: 'Write security for each, or for the whole document.',
    })
  flaws.push(...checkObjects(plan.objects, targets))
  if (flaws.length > 0 || !api || !url) throw new InvalidProbe(flaws.slice(0, 20))
  return { api, url }
}

function isLoopback(hostname: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(hostname)
}

function record(
  { database, change }: ProbeDeps,
  event: 'probe.started' | 'probe.ended',
  { api, url }: ProbePlan,
  detail: Record<string, number>,
): Promise<void> {
  const { actor, origin } = change()
  const entry = {
    event,
    outcome: 'success',
    actor,
    target: { kind: 'api', id: api },
    detail: { url, ...detail },
  } as const
  return recordAudit(database.prisma, entry, origin)
}
