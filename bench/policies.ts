// What a policy decision costs, and what it costs among ten thousand: `node bench/policies.ts [--rounds=15]`. One core, no database, CPU
// time rather than the clock's. Writes bench/results/policies.json.
import { mkdirSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { readScope } from '#src/access/policies/candidate-index.ts'
import { createPolicySet, type KeptPolicy, type PolicySet } from '#src/access/policies/cedar.ts'
import { cedarUsage, withCedar } from '#src/access/policies/cedar-runtime.ts'
import type { PolicyQuestion } from '#src/access/policies/question.ts'
import type { PolicyGround } from '#src/access/policies/schema.ts'

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '15' } } })
const actions = Array.from({ length: 200 }, (_, n) => `orders:act${n}`)
const ground: PolicyGround = {
  actions,
  objects: { order: { owner: actions } },
  declared: { attributes: '{ department?: String, plan?: String }', objects: { folder: {} } },
}

/** What ten thousand policies are made of: each concerns one role, person, object or folder. */
const shapes: ((n: number) => string)[] = [
  (n) => `permit (principal in Role::"r${n}", action == Action::"${actions[n % 200]}", resource is order)
    when { context.hour < 25 };`,
  (n) => `permit (principal == User::"u${n}", action, resource is order)
    when { principal.attributes has department && principal.attributes.department == "d${n}" };`,
  (n) => `forbid (principal, action == Action::"${actions[n % 200]}", resource == order::"o${n}")
    unless { context has acr && context.acr == "phr" };`,
  (n) => `permit (principal in Group::"g${n % 50}", action, resource in folder::"f${n}");`,
]

/** Ten that hold for everybody who asks about action 1, then as many others as there are. */
const always = (n: number) => `permit (principal, action == Action::"orders:act1", resource is order)
  when { principal is User && principal.attributes has department && principal.attributes.department == "d${n}" && principal in resource.owner };`

/** Not validated: ten thousand times, that is what would take the time. */
function keep(name: string, text: string): KeptPolicy {
  const parsed = withCedar((cedar) => cedar.policyToJson(text))
  if (parsed.type === 'failure') throw new Error(JSON.stringify(parsed.errors))
  return { name, text, effect: parsed.json.effect, scope: readScope(parsed.json) }
}

/** So many people, each with roles and an order of their own: what is preparsed is shared by those whom the same policies concern. */
const question = (n: number): PolicyQuestion => ({
  principal: {
    kind: 'user',
    id: `u${n}`,
    attributes: { department: `d${n % 10}`, plan: 'pro' },
    emailVerified: true,
    roles: [`r${n}`, 'clerk'],
    groups: [`g${n % 50}`, 'staff'],
  },
  action: 'orders:act1',
  resource: {
    type: 'order',
    id: `o${n}`,
    relations: { owner: [{ type: 'user', id: `u${n}` }] },
    parents: [{ type: 'folder', id: `f${n}` }],
  },
  context: {
    now: new Date(Date.UTC(2026, 10, 26, 10)),
    address: '10.1.2.3',
    acr: 'phr',
    amr: ['pwd', 'otp'],
    authAge: 60,
    credential: 'oauth',
  },
})

const cpu = () => process.cpuUsage().user + process.cpuUsage().system

/** @returns microseconds of CPU time for one. */
function measure(work: (n: number) => void, times: number): number {
  const from = cpu()
  for (let n = 0; n < times; n++) work(n)
  return (cpu() - from) / times
}

const sizes = [10, 100, 1_000, 10_000]
const crowds = [1, 1000]
const rounds = Number(options.rounds)
const sets = sizes.map((size) => {
  const policies = Array.from({ length: size }, (_, n) => {
    const text = n < 10 ? always : (shapes[n % shapes.length] ?? always)
    return keep(`p${n}`, text(n))
  })
  const began = performance.now()
  const set = createPolicySet(policies, ground)
  const madeMs = performance.now() - began
  const asked = performance.now()
  const answer = set.evaluate(question(7))
  const firstMs = performance.now() - asked
  if (answer.effect !== 'permit' || answer.errors.length > 0) throw new Error(JSON.stringify(answer))
  return { size, set, madeMs, firstMs }
})

// Sizes take turns, round by round: what else the machine does then falls on all of them.
const results = crowds.flatMap((people) => {
  const questions = Array.from({ length: people }, (_, n) => question(people === 1 ? 7 : n))
  const ask = (set: PolicySet) => (n: number) => {
    const asked = questions[n % people]
    if (asked) set.evaluate(asked)
  }
  const taken = sets.map(({ set }) => {
    for (let n = 0; n < 2000; n++) ask(set)(n)
    return { set, us: [] as number[] }
  })
  for (let round = 0; round < rounds; round++) for (const { set, us } of taken) us.push(measure(ask(set), 1000))
  return sets.map(({ size, madeMs, firstMs }, at) => {
    const us = taken[at]?.us.sort((a, b) => a - b)[Math.floor(rounds / 2)] ?? Number.NaN
    return { people, size, us, perSecond: Math.round(1e6 / us), madeMs, firstMs }
  })
})
const usage = cedarUsage()

console.log(
  ['people', 'policies', 'us', 'per second', 'make ms', 'first ms'].map((head) => head.padStart(10)).join('  '),
)
for (const { people, size, us, perSecond, madeMs, firstMs } of results)
  console.log(
    [people, size, us.toFixed(1), perSecond, madeMs.toFixed(1), firstMs.toFixed(1)]
      .map((cell) => String(cell).padStart(10))
      .join('  '),
  )
const of = (size: number, people: number) =>
  results.find((row) => row.size === size && row.people === people)?.us ?? Number.NaN
for (const people of crowds) {
  const slower = (of(10_000, people) / of(10, people) - 1) * 100
  console.log(`10,000 against 10 policies, ${people} asking: ${slower.toFixed(1)} % slower (goal: at most 20 %)`)
}
console.log(`preparsed at the end: ${usage.sets} sets of ${usage.policies} policies`)
mkdirSync('bench/results', { recursive: true })
writeFileSync('bench/results/policies.json', `${JSON.stringify({ results, usage }, null, 2)}\n`)
