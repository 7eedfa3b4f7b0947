// Policies of the file, and what they may speak of. Both are looked at before anything is written, against what the API will be once all is
// done: its scopes and objects, and the schema of its policies. A policy that does not change, of an API whose schema does not change
// either, is not looked at: a start with a file that is in force loads no Cedar.
import { hash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { checkPolicy, recheckPolicies } from '#src/access/policies/cedar.ts'
import { createPolicy, groundFrom, settlePolicySchema, updatePolicy } from '#src/access/policies/policies.ts'
import { compilePolicySchema, type PolicySchema, type PolicySchemaInput } from '#src/access/policies/schema.ts'
import type { Flaw } from '#src/refusal.ts'
import { policyKey, within } from '../check.ts'
import type { Current } from '../current.ts'
import { InvalidDeclaration } from '../errors.ts'
import { withLines } from '../lines.ts'
import type { PolicyTexts } from '../policy-texts.ts'
import type { Declaration, DeclaredPolicy } from '../schema.ts'
import { differences, type Step } from '../steps.ts'

/** Others are served in between: Cedar takes a third of a millisecond for each. */
const atOnce = 100

/** What was found good; handed on from the first look to the one under the lock. */
export type Checked = Set<string>

/** @throws InvalidDeclaration */
export async function comparePolicies(
  declaration: Declaration,
  current: Current,
  { policyTexts = new Map(), checked = new Set() }: { policyTexts?: PolicyTexts; checked?: Checked },
): Promise<Step[]> {
  const { policies = [] } = declaration
  const wanted = policies.map((policy) => ({ policy, text: textOf(policy, policyTexts) }))
  const flaws = wanted.flatMap(({ text }, index) =>
    text === undefined ? within(`policies[${index}]`, [notThere]) : [],
  )
  if (flaws.length > 0) throw new InvalidDeclaration(withLines(declaration, flaws))
  const steps = wanted.flatMap(({ policy, text = '' }): Step[] => stepFor(policy, text, current))
  await refusePolicies(declaration, current, { steps, wanted, checked })
  return steps
}

function textOf({ text, file }: DeclaredPolicy, texts: PolicyTexts): string | undefined {
  return text ?? texts.get(file ?? '')
}

const notThere: Flaw = {
  field: 'file',
  problem: 'is a file, and there are none here',
  fix: 'Apply it with: sallyport apply --file FILE.',
}

function stepFor(declared: DeclaredPolicy, text: string, current: Current): Step[] {
  const { api: apiIdentifier, name, description = '', state } = declared
  const id = policyKey({ api: apiIdentifier, name })
  const record = current.policies.get(id)
  if (!record) {
    const input = { apiIdentifier, name, text, description, ...(state === undefined ? {} : { state }) }
    return [{ action: 'create', kind: 'policy', id, run: (tx, change) => createPolicy(tx, input, change) }]
  }
  const from = { description: record.description, state: record.state, text: record.text }
  const to = { description, state: state ?? record.state, text }
  const fields = differences(from, to)
  const run: Step['run'] = (tx, change) => updatePolicy(tx, record.id, record.version, to, change)
  return fields ? [{ action: 'update', kind: 'policy', id, fields, run }] : []
}

/** Of the APIs whose policies or whose schema change: every policy that will be there. */
async function refusePolicies(
  declaration: Declaration,
  current: Current,
  { steps, wanted, checked }: { steps: readonly Step[]; wanted: readonly Wanted[]; checked: Checked },
): Promise<void> {
  const changing = new Set(steps.map(({ id }) => id))
  const flaws: Flaw[] = []
  for (const api of apisOf(declaration, current)) {
    const changesSchema = schemaChange(declaration, current, api) !== undefined
    const listed = wanted.flatMap((entry, index) => (entry.policy.api === api ? [{ ...entry, index }] : []))
    if (!changesSchema && !listed.some(({ policy }) => changing.has(policyKey(policy)))) continue
    const ground = groundAfter(declaration, current, api)
    const compiled = compilePolicySchema(ground)
    const at = (declaration.apis ?? []).findIndex(({ identifier }) => identifier === api)
    if ('flaws' in compiled) {
      flaws.push(...within(at < 0 ? api : `apis[${at}].policySchema`, compiled.flaws))
      continue
    }
    const identity = hash('sha256', JSON.stringify(ground))
    for (const { policy, text = '', index } of listed) {
      if (!changesSchema && !changing.has(policyKey(policy))) continue
      const key = `${identity} ${text}`
      if (checked.has(key)) continue
      const result = checkPolicy(text, compiled.schema, policy.file === undefined ? 'text' : 'file')
      if ('flaws' in result)
        flaws.push(
          ...within(
            `policies[${index}]`,
            result.flaws.map((flaw) => ({ ...flaw, problem: `of ${policy.name} ${flaw.problem}` })),
          ),
        )
      else checked.add(key)
      if (index % atOnce === 0) await setImmediate()
    }
    if (changesSchema)
      flaws.push(...(await others(current, { api, at, listed, schema: compiled.schema, identity, checked })))
  }
  if (flaws.length > 0) throw new InvalidDeclaration(withLines(declaration, flaws.slice(0, 20)))
}

type Wanted = { policy: DeclaredPolicy; text: string | undefined }

/** Policies that stay and that the file does not list: what they rely on must not be taken away from under them. */
async function others(
  current: Current,
  about: {
    api: string
    at: number
    listed: readonly Wanted[]
    schema: PolicySchema
    identity: string
    checked: Checked
  },
): Promise<Flaw[]> {
  const { api, at, listed, schema, identity, checked } = about
  const names = new Set(listed.map(({ policy }) => policyKey(policy)))
  const staying = [...current.policies].flatMap(([key, record]) =>
    record.apiIdentifier === api && !names.has(key) && !current.removed.policies.has(key) ? [record] : [],
  )
  const looked = staying.filter(({ text }) => !checked.has(`${identity} ${text}`))
  const flaws: Flaw[] = []
  for (let from = 0; from < looked.length; from += atOnce) {
    const portion = looked.slice(from, from + atOnce)
    const found = recheckPolicies(portion, schema).flaws
    if (found.length === 0) for (const { text } of portion) checked.add(`${identity} ${text}`)
    flaws.push(
      ...found.map(({ field, problem, fix }) => ({
        field: `apis[${at}].policySchema`,
        problem: `does not go with the policy ${field.replace(/^policies\./, '')}, which ${problem}`,
        fix,
      })),
    )
    await setImmediate()
  }
  return flaws
}

function apisOf({ apis = [], policies = [] }: Declaration, current: Current): string[] {
  const named = [
    ...apis.filter((api) => api.policySchema).map((api) => api.identifier),
    ...policies.map(({ api }) => api),
  ]
  return [...new Set(named)].filter((api) => !current.apis.get(api)?.builtIn)
}

/** @returns the schema that the file gives the API, where it is another one than it has. */
export function schemaChange(
  { apis = [] }: Declaration,
  current: Current,
  api: string,
): { from: PolicySchemaInput; to: PolicySchemaInput } | undefined {
  const declared = apis.find(({ identifier }) => identifier === api)?.policySchema
  if (!declared) return undefined
  const change = { from: current.policySchemas.get(api) ?? {}, to: settlePolicySchema(declared) }
  return differences({ schema: change.from }, { schema: change.to }) && change
}

function groundAfter({ apis = [] }: Declaration, current: Current, identifier: string) {
  const declared = apis.find((api) => api.identifier === identifier)
  const record = current.apis.get(identifier)
  const scopes = declared ? Object.keys(declared.scopes ?? {}) : (record?.scopes ?? []).map(({ name }) => name)
  const objects = declared ? (declared.objects ?? {}) : record?.objects
  return groundFrom(scopes, objects, declared?.policySchema ?? current.policySchemas.get(identifier) ?? {})
}
