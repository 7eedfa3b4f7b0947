// sallyport policies: who may do what under which conditions, in Cedar (docs/policies.md). A policy is named by its API and name, or by id.
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { policySchemaDocument, toTrialQuestion, trialDocument } from '#src/access/policies/document.ts'
import { applyPolicyFile, readPolicyFile } from '#src/access/policies/file.ts'
import {
  describePolicy,
  describePolicyVersion,
  findPolicy,
  findPolicyByName,
  findPolicySchema,
  listPolicies,
  listPolicyVersions,
  PolicyNotFound,
  putPolicySchema,
  updatePolicy,
} from '#src/access/policies/policies.ts'
import { draftOf, type Replay, replayBounds, replayPolicies } from '#src/access/policies/replay.ts'
import { tryPolicies } from '#src/access/policies/trial.ts'
import { sentence } from '#src/refusal.ts'
import type { CliDeps } from './deps.ts'
import { cliChange, wholeNumber } from './input.ts'
import { describeReplay, joinReplays } from './replay.ts'
import { details, table } from './table.ts'

export function register(program: Command, deps: CliDeps): void {
  const policies = program.command('policies').description('policies of APIs, in Cedar')

  policies
    .command('list')
    .description('every policy')
    .option('--api <identifier>', 'of this API alone')
    .action(async ({ api }: { api?: string }) => {
      const { prisma } = await deps.openDatabase()
      const records = await listPolicies(prisma, { apiIdentifier: api })
      const rows = records.map((record) => [
        record.name,
        record.effect,
        record.state,
        String(record.version),
        record.apiIdentifier,
        record.description || '-',
      ])
      deps.out(
        records.map(describePolicy),
        table(['name', 'effect', 'state', 'version', 'api', 'description'], rows, 'There is no policy.'),
      )
    })

  policies
    .command('show')
    .description('one policy with its versions')
    .argument('<policy>', 'its id, or its name with --api')
    .option('--api <identifier>', 'its API')
    .action(async (name: string, { api }: { api?: string }) => {
      const { prisma } = await deps.openDatabase()
      const record = api === undefined ? await findPolicy(prisma, name) : await findPolicyByName(prisma, api, name)
      const versions = (await listPolicyVersions(prisma, record?.id ?? name)).map(describePolicyVersion)
      if (versions.length === 0) throw new PolicyNotFound(name, 'policy')
      const shown = record ? describePolicy(record) : { id: name, state: 'deleted' }
      const rows = versions.map(({ version, state, changedAt, changedBy }) => [
        String(version),
        state,
        changedAt.toISOString(),
        `${changedBy.kind} ${changedBy.id ?? ''}`.trim(),
      ])
      const { text, ...others } = { text: versions[0]?.text ?? '', ...shown }
      const parts = [details(others), text, table(['version', 'state', 'changed', 'by'], rows, '')]
      deps.out({ ...shown, versions }, parts.join('\n\n'))
    })

  policies
    .command('apply')
    .description('create and change policies from a file of Cedar statements, each with an @id("name")')
    .argument('<file>', 'the file')
    .requiredOption('--api <identifier>', 'the API')
    .option('--enforce', 'also enforce them; else new ones are drafts', false)
    .action(async (file: string, { api, enforce }: { api: string; enforce: boolean }) => {
      const read = readPolicyFile(readText(deps, file))
      const applied = await applyPolicyFile(await deps.openDatabase(), api, read, { enforce }, cliChange(deps))
      const rows = applied.map(({ name, done, state, version }) => [name, done, state, String(version)])
      deps.out(applied, table(['name', 'done', 'state', 'version'], rows, 'The file has no policy.'))
    })

  for (const [command, state, done] of [
    ['enforce', 'enforced', 'Enforced'],
    ['disable', 'draft', 'Made a draft of'],
  ] as const)
    policies
      .command(command)
      .description(
        state === 'enforced' ? 'let a draft count from now on' : 'keep a policy as a draft, which counts for nothing',
      )
      .argument('<name>', 'its name')
      .requiredOption('--api <identifier>', 'its API')
      .action(async (name: string, { api }: { api: string }) => {
        const { prisma } = await deps.openDatabase()
        const record = await findPolicyByName(prisma, api, name)
        if (!record) throw new PolicyNotFound(name, 'name')
        const changed = await updatePolicy(prisma, record.id, record.version, { state }, cliChange(deps))
        deps.out(describePolicy(changed), `${done} ${changed.name} (version ${changed.version}).`)
      })

  policies
    .command('try')
    .description('what drafts would change: who gains and who loses, for given questions')
    .argument(
      '<file>',
      'JSON: {"api", "drafts": [{"name", "text"}], "questions": [{"principal", "action", "resource", "context"}]}',
    )
    .action(async (file: string) => {
      const { api, drafts, questions } = readDocument(deps, file, trialDocument)
      const asked = questions.map((question) => toTrialQuestion(question, deps.now()))
      const tried = await tryPolicies(await deps.openDatabase(), api, drafts, asked)
      const rows = tried.results.flatMap(({ before, after, change }, at) => {
        const question = asked[at]
        if (change === 'none' || !question) return []
        const { principal, action, resource } = question
        return [
          [
            change,
            `${principal.kind}:${principal.id}`,
            action,
            `${resource.type}:${resource.id}`,
            `${before.effect} -> ${after.effect}`,
            after.policies.join(', ') || '-',
          ],
        ]
      })
      const sum = `${tried.gains} gain, ${tried.loses} lose, of ${asked.length} questions.`
      const changes = rows.length > 0 ? `${table(['change', 'who', 'action', 'what', 'answer', 'by'], rows, '')}\n` : ''
      deps.out(tried, `${changes}${sum}`)
    })

  policies
    .command('replay')
    .description('what a policy would have changed of the last days: a draft in force, an enforced one taken away')
    .argument('<name>', 'its name')
    .requiredOption('--api <identifier>', 'its API')
    .option('--file <file>', 'another text in its place, Cedar')
    .option('--days <days>', `of decisions, at most ${replayBounds.days}`, wholeNumber, replayBounds.usualDays)
    .option('--most <count>', `receipts that are read, at most ${replayBounds.most}`, wholeNumber, 1000)
    .action(async (name: string, options: { api: string; file?: string; days: number; most: number }) => {
      const { api, file, days, most } = options
      if (days < 1 || days > replayBounds.days) deps.fail(`--days is from 1 to ${replayBounds.days}.`)
      if (most < 1 || most > replayBounds.most) deps.fail(`--most is from 1 to ${replayBounds.most}.`)
      const text = file === undefined ? undefined : readText(deps, file)
      const database = await deps.openDatabase()
      const record = await findPolicyByName(database.prisma, api, name)
      if (!record) throw new PolicyNotFound(name, 'name')
      const since = new Date(deps.now().getTime() - days * 86_400_000)
      const pages: Replay[] = []
      let after: string | undefined
      for (let left = most; left > 0; left -= replayBounds.perPage) {
        const page = { since, after, limit: Math.min(left, replayBounds.perPage) }
        const replay = await replayPolicies(database, api, [draftOf(record, text)], page)
        pages.push(replay)
        if (replay.next === null) break
        after = replay.next
      }
      const joined = joinReplays(pages)
      const about = { since, permittedShare: (await deps.configInForce()).decisionReceiptsPermitted }
      deps.out({ ...about, ...joined }, describeReplay(joined, about))
    })

  policies
    .command('schema')
    .description('what policies of an API may speak of; with --file, declare it')
    .argument('<api>', 'the API')
    .option('--file <file>', 'JSON: {"attributes": "{ department: String }", "context", "objects"}')
    .action(async (api: string, { file }: { file?: string }) => {
      const declared = file === undefined ? undefined : readDocument(deps, file, policySchemaDocument)
      const { prisma } = await deps.openDatabase()
      const found = await findPolicySchema(prisma, api)
      if (declared) await putPolicySchema(prisma, api, found.version, declared, cliChange(deps))
      const { version, declared: now, ground } = declared ? await findPolicySchema(prisma, api) : found
      const shown = { api, version, ...now, actions: ground.actions }
      deps.out(shown, details(shown))
    })
}

function readText(deps: CliDeps, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return deps.fail(`The file ${file} cannot be read.`)
  }
}

type Parser<T> = {
  safeParse(
    value: unknown,
  ):
    | { success: true; data: T }
    | { success: false; error: { issues: readonly { path: PropertyKey[]; message: string }[] } }
}

function readDocument<T>(deps: CliDeps, file: string, parser: Parser<T>): T {
  let value: unknown
  try {
    value = JSON.parse(readText(deps, file))
  } catch (error) {
    if (error instanceof SyntaxError) return deps.fail(`The file ${file} is not JSON: ${error.message}`)
    throw error
  }
  const result = parser.safeParse(value)
  if (result.success) return result.data
  const problems = result.error.issues.map(({ path, message }) =>
    sentence({ field: path.map(String).join('.') || 'The file', problem: 'has the wrong form', fix: message }),
  )
  return deps.fail(problems.join('\n'))
}
