// sallyport reviews: who can do what, noted at one moment, judged line by line, and kept as a file.
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import type { Command } from 'commander'
import type { Database } from '#src/db/database.ts'
import { type Decision, decideLine } from '#src/review/decide.ts'
import { writeReview } from '#src/review/export.ts'
import {
  createReview,
  describeLine,
  describeReview,
  type LineRecord,
  listLines,
  listReviews,
  namesOfLines,
} from '#src/review/reviews.ts'
import { lineKinds } from '#src/review/snapshot.ts'
import type { CliDeps } from './deps.ts'
import { cliChange, wholeNumber } from './input.ts'
import { table } from './table.ts'

type Line = ReturnType<typeof describeLine>

export function register(program: Command, deps: CliDeps): void {
  const reviews = program
    .command('reviews')
    .description('access reviews: who can do what, approved or revoked line by line')

  reviews
    .command('list')
    .description('the newest first')
    .option('--limit <number>', 'how many', wholeNumber, 50)
    .action(async ({ limit }: { limit: number }) => {
      const { prisma } = await deps.openDatabase()
      const found = (await listReviews(prisma, { limit })).map(describeReview)
      deps.out(
        found,
        table(
          ['review', 'name', 'begun', 'lines', 'open', 'approved', 'revoked'],
          found.map(({ id, name, createdAt, lines, open, approved, revoked }) => [
            ...[id, name, createdAt.toISOString()],
            ...[lines, open, approved, revoked].map(String),
          ]),
          'There is no access review yet.',
        ),
      )
    })

  reviews
    .command('create')
    .description('notes who can do what at this moment')
    .argument('<name>', 'to recognise it by, such as "Spring 2027"')
    .action(async (name: string) => {
      const review = describeReview(await createReview(await deps.openDatabase(), { name }, cliChange(deps)))
      deps.out(review, `Review ${review.id} has ${review.lines} lines.`)
    })

  reviews
    .command('lines')
    .description('the lines of a review')
    .argument('<review>', 'its id')
    .option('--kind <kind>', lineKinds.join(', '))
    .option('--subject <kind:id>', 'of one person or client: user:<id>, client:<id>')
    .option('--open', 'what is not decided yet', false)
    .option('--administrators', 'what opens something of this server’s own API', false)
    .option('--after <line>', 'what --json says as next', wholeNumber)
    .option('--limit <number>', 'how many, up to 1000', wholeNumber, 200)
    .action(async (id: string, options: LineOptions, command: Command) => {
      const { kind, subject, open, administrators, after } = options
      const limit = Math.min(Math.max(options.limit, 1), 1_000)
      const [, subjectKind = '', subjectId = ''] = /^(user|client):(.+)$/.exec(subject ?? '') ?? []
      if (subject !== undefined && subjectKind === '')
        command.error('error: --subject is user:<id> or client:<id>', { exitCode: 2 })
      const database = await deps.openDatabase()
      const filter = {
        kind,
        ...(subject !== undefined && { subject: { kind: subjectKind, id: subjectId } }),
        ...(open && { decision: 'open' as const }),
        ...(administrators && { administrator: true as const }),
      }
      const found = await listLines(database.prisma, id, filter, { after, limit: limit + 1 })
      const data = await describe(database, found.slice(0, limit))
      deps.out(
        { data, next: found.length > limit ? data.at(-1)?.line : null },
        table(['line', 'whose', 'has', 'what it is worth', 'decided'], data.map(rowOf), 'There is no such line.'),
      )
    })

  for (const [name, decision, description] of [
    ['approve', 'approve', 'lines may stay'],
    ['revoke', 'revoke', 'what the lines say is taken away at once'],
  ] as [string, Decision, string][])
    reviews
      .command(name)
      .description(description)
      .argument('<review>', 'its id')
      .argument('<lines...>', 'their numbers')
      .option('--note <text>', 'why, for whoever reads the review later')
      .action(async (reviewId: string, numbers: string[], { note }: { note?: string }) => {
        const database = await deps.openDatabase()
        const decided: LineRecord[] = []
        // Each by itself: of several the first that is refused ends it, and those before it are decided.
        for (const number of numbers.map(wholeNumber))
          decided.push(await decideLine(database.prisma, { reviewId, number }, { decision, note }, cliChange(deps)))
        const data = await describe(database, decided)
        deps.out(data, data.map((line) => `${line.line}: ${sayDecision(line)}`).join('\n'))
      })

  reviews
    .command('export')
    .description('lines of JSON; the digest is in the audit record')
    .argument('<review>', 'its id')
    .requiredOption('--output <file>', 'a new file')
    .action(async (id: string, { output }: { output: string }) => {
      const database = await deps.openDatabase()
      const out = createWriteStream(output, { flags: 'wx', mode: 0o600 })
      try {
        await once(out, 'open')
        for await (const text of writeReview(database, id, deps.config().issuerUrl, cliChange(deps)))
          if (!out.write(text)) await once(out, 'drain')
        await once(out.end(), 'close')
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code === undefined) throw error
        return deps.fail(`The export cannot be written: ${code === 'EEXIST' ? 'the file exists' : code}.`)
      }
      deps.out({ file: output }, `Exported to ${output}.`)
    })
}

type LineOptions = {
  kind?: string
  subject?: string
  open: boolean
  administrators: boolean
  after?: number
  limit: number
}

async function describe(database: Database, records: readonly LineRecord[]): Promise<Line[]> {
  const names = await namesOfLines(database, records)
  return records.map((record) => describeLine(record, names))
}

function rowOf(line: Line): string[] {
  const { kind, subject, target, administrator, detail } = line
  const { permissions, scopes, apis, factor } = detail as {
    permissions?: string[]
    scopes?: string[]
    apis?: Record<string, string[]>
    factor?: string
  }
  const worth = factor ?? (permissions ?? scopes ?? Object.values(apis ?? {}).flat()).join(' ')
  return [
    String(line.line),
    subject.name ?? `${subject.kind}:${subject.id}`,
    `${kind.replace(/^\w+_/, '')} ${target.name ?? target.id}`,
    administrator ? `administrator: ${worth}` : worth,
    sayDecision(line),
  ]
}

const sayDecision = ({ decision, effect }: Line): string =>
  decision === null
    ? '-'
    : effect === 'gone'
      ? 'revoked; it was gone already'
      : decision === 'revoke'
        ? 'revoked'
        : 'approved'
