// sallyport relations: who stands how to what, one relation a word: order:88#owner@user:42, doc:1#viewer@group:eng#member.
import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import {
  holdsRelation,
  listRelations,
  mostWritten,
  type Relation,
  writeRelations,
} from '#src/access/relations/relations.ts'
import {
  formatRelation,
  InvalidRelation,
  parseEntity,
  parseRelationLines,
  parseSubject,
  readRelation,
} from '#src/access/relations/text.ts'
import type { Flaw } from '#src/refusal.ts'
import type { CliDeps } from './deps.ts'
import { cliChange, wholeNumber } from './input.ts'

type ListOptions = { object?: string; relation?: string; subject?: string; limit: number; after?: string }

const many = 'such as order:88#owner@user:42; - reads them from standard input, one a line'

export function register(program: Command, deps: CliDeps): void {
  const relations = program.command('relations').description('who stands how to what')

  relations
    .command('write')
    .description('add relations; those that are there stay')
    .argument('<relation...>', many)
    .action(async (given: string[]) => {
      const { written } = await change(given, 'write')
      deps.out({ written }, `Wrote ${written}; the others were there.`)
    })

  relations
    .command('delete')
    .description('delete relations; those that are not there stay away')
    .argument('<relation...>', many)
    .action(async (given: string[]) => {
      const { deleted } = await change(given, 'delete')
      deps.out({ deleted }, `Deleted ${deleted}; the others were not there.`)
    })

  relations
    .command('list')
    .description('relations as they were written')
    .option('--object <object>', 'those of one object, such as order:88')
    .option('--relation <name>', 'those of one name, beside --object or --subject')
    .option('--subject <subject>', 'those of one subject, such as user:42 or group:eng#member')
    .option('--limit <number>', 'how many, at most 1000', wholeNumber, 100)
    .option('--after <next>', 'go on where a list ended')
    .action(async ({ object, relation, subject, limit, after }: ListOptions) => {
      const filter = {
        object: object === undefined ? undefined : parseEntity(object, '--object'),
        relation,
        subject: subject === undefined ? undefined : parseSubject(subject, '--subject'),
      }
      const { relations: found, next } = await listRelations(await deps.openDatabase(), filter, { limit, after })
      const data = found.map(formatRelation)
      const lines = data.length === 0 ? ['There is no relation.'] : data
      deps.out({ data, next }, [...lines, ...(next === null ? [] : [`There are more: --after ${next}`])].join('\n'))
    })

  relations
    .command('check')
    .description(
      'does somebody stand so to something, by name, by a group or by a parent? Ends with 1 where the answer is no',
    )
    .argument('<relation>', 'such as order:88#owner@user:42')
    .action(async (given: string) => {
      const [relation] = parse([given], () => 'relation')
      if (!relation) return
      const { object, subject } = relation
      if (subject.relation !== undefined) deps.fail('Ask about somebody, not about a set: order:88#owner@user:42.')
      const holds = await holdsRelation(await deps.openDatabase(), subject, relation.relation, object)
      deps.out({ relation: formatRelation(relation), holds }, holds ? 'Yes.' : 'No.')
      if (!holds) process.exitCode = 1
    })

  /** Everything is looked at before anything is written. Each thousand is a commit of its own: what was done before one failed stays, and is
   *  nothing to do when the same is sent again. */
  async function change(given: readonly string[], what: 'write' | 'delete') {
    const all = given.includes('-') ? await readLines(given) : parse(given, (index) => `argument ${index + 1}`)
    const { prisma } = await deps.openDatabase()
    const sum = { written: 0, deleted: 0 }
    const progress = deps.progress('relations')
    for (let from = 0; from < all.length; from += mostWritten) {
      const done = await writeRelations(prisma, { [what]: all.slice(from, from + mostWritten) }, cliChange(deps))
      sum.written += done.written
      sum.deleted += done.deleted
      progress(Math.min(from + mostWritten, all.length), all.length)
    }
    return sum
  }

  async function readLines(given: readonly string[]): Promise<Relation[]> {
    if (given.length > 1) deps.fail('Send relations as arguments or on standard input, not both.')
    const relations = parseRelationLines(await text(process.stdin))
    if (relations.length === 0) deps.fail('There is no relation on standard input.')
    return relations
  }
}

/** @throws InvalidRelation that names the first twenty flaws */
function parse(texts: readonly string[], name: (index: number) => string): Relation[] {
  const flaws: Flaw[] = []
  const relations = texts.flatMap((one, index) => {
    const read = readRelation(one, name(index))
    if ('relation' in read) return [read.relation]
    flaws.push(...read.flaws)
    return []
  })
  if (flaws.length > 0) throw new InvalidRelation(flaws.slice(0, 20))
  return relations
}
