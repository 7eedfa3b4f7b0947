// A file of policies: Cedar as it is written everywhere, each statement with an @id("name") and perhaps a @description("…").
import type { Change } from '#src/audit/change.ts'
import type { Database } from '#src/db/database.ts'
import { withConfigurationLock } from '#src/db/transaction.ts'
import { checkDistinct, type Flaw } from '#src/refusal.ts'
import { CedarFailure, withCedar } from './cedar-runtime.ts'
import { createPolicy, findPolicyByName, InvalidPolicy, updatePolicy } from './policies.ts'
import { toFlaw } from './text.ts'

type FiledPolicy = Readonly<{ name: string; description: string; text: string }>

type Applied = Readonly<{ name: string; done: 'created' | 'updated' | 'unchanged'; state: string; version: number }>

/** @throws InvalidPolicy */
export function readPolicyFile(text: string): FiledPolicy[] {
  const read = split(text)
  if ('flaws' in read) throw new InvalidPolicy(read.flaws)
  const names = read.policies.map(({ name }) => name)
  const nameless = names.indexOf('')
  const flaws = [
    ...(nameless < 0
      ? []
      : [{ field: `policies[${nameless}]`, problem: 'has no name', fix: 'Write @id("its-name") before it.' }]),
    ...checkDistinct('policies', names),
  ]
  if (flaws.length > 0) throw new InvalidPolicy(flaws)
  return read.policies
}

/** Everything or nothing. Policies of the API that the file does not name stay as they are.
 *  @param options.enforce also enforces them; else new ones are drafts, and the others stay what they are.
 *  @throws InvalidPolicy, ApiNotFound */
export function applyPolicyFile(
  database: Database,
  apiIdentifier: string,
  policies: readonly FiledPolicy[],
  options: { enforce: boolean },
  change: Change,
): Promise<Applied[]> {
  return withConfigurationLock(database, async (tx) => {
    const applied: Applied[] = []
    for (const { name, description, text } of policies) {
      const before = await findPolicyByName(tx, apiIdentifier, name)
      const state = options.enforce ? 'enforced' : (before?.state ?? 'draft')
      if (before && before.text === text && before.description === description && before.state === state) {
        applied.push({ name, done: 'unchanged', state, version: before.version })
        continue
      }
      const { version } = before
        ? await updatePolicy(tx, before.id, before.version, { text, description, state }, change)
        : await createPolicy(tx, { apiIdentifier, name, text, description, state }, change)
      applied.push({ name, done: before ? 'updated' : 'created', state, version })
    }
    return applied
  })
}

function split(text: string): { flaws: Flaw[] } | { policies: FiledPolicy[] } {
  try {
    return withCedar((cedar) => {
      const parts = cedar.policySetTextToParts(text)
      if (parts.type === 'failure') return { flaws: parts.errors.map((error) => toFlaw('file', error, text)) }
      if (parts.policy_templates.length > 0)
        return { flaws: [{ field: 'file', problem: 'has templates', fix: 'Write policies without slots.' }] }
      const policies = parts.policies.map((one) => {
        const parsed = cedar.policyToJson(one)
        const { id = '', description = '' } = parsed.type === 'success' ? (parsed.json.annotations ?? {}) : {}
        return { name: id, description, text: one }
      })
      return { policies }
    })
  } catch (error) {
    if (!(error instanceof CedarFailure)) throw error
    return { flaws: [{ field: 'file', problem: 'is more than Cedar can read', fix: 'Divide it into several.' }] }
  }
}
