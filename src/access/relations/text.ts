// Relations as people write them: `order:88#owner@user:42`, `doc:1#viewer@group:eng#member`, `order:88#parent@folder:7`. `#` is the only
// character that ends an id, so addresses and paths may be ids.
import { type Flaw, quote, Refusal } from '#src/refusal.ts'

export type EntityRef = Readonly<{ type: string; id: string }>
/** With a relation: everybody who stands so to it. */
export type SubjectRef = EntityRef & Readonly<{ relation?: string }>
export type Relation = Readonly<{ object: EntityRef; relation: string; subject: SubjectRef }>

export class InvalidRelation extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

/** Written on an object, it lends it everything that holds for the other. */
export const parentRelation = 'parent'

const name = /^[a-z][a-z0-9_]{0,63}$/
const id = /^(?! )(?:[^\p{C}\p{Z}#]| ){1,256}(?<! )$/u

export const isEntity = (ref: EntityRef): boolean => name.test(ref.type) && id.test(ref.id)
export const isRelationName = (text: string): boolean => name.test(text)

export const formatEntity = ({ type, id }: EntityRef): string => `${type}:${id}`
const formatSubject = ({ relation, ...entity }: SubjectRef): string =>
  relation === undefined ? formatEntity(entity) : `${formatEntity(entity)}#${relation}`
export const formatRelation = ({ object, relation, subject }: Relation): string =>
  `${formatEntity(object)}#${relation}@${formatSubject(subject)}`

/** @param field how the refusal calls it. @throws InvalidRelation */
export function parseRelation(text: string, field = 'relation'): Relation {
  const read = readRelation(text, field)
  if ('flaws' in read) throw new InvalidRelation(read.flaws)
  return read.relation
}

/** @throws InvalidRelation */
export function parseEntity(text: string, field: string): EntityRef {
  const entity = splitEntity(text)
  refuse(checkEntity(field, entity))
  return entity
}

/** @throws InvalidRelation */
export function parseSubject(text: string, field: string): SubjectRef {
  const subject = splitSubject(text)
  refuse(checkSubject(field, subject))
  return subject
}

/** Written or as an object; every flaw of it, or none. */
export function readRelation(given: Relation | string, field: string): { relation: Relation } | { flaws: Flaw[] } {
  const relation = typeof given === 'string' ? splitRelation(given) : given
  if (!relation)
    return {
      flaws: [
        {
          field,
          problem: `(${quote(given as string)}) is not a relation`,
          fix: 'Write <object>#<relation>@<subject>, such as order:88#owner@user:42 or doc:1#viewer@group:eng#member.',
        },
      ],
    }
  const flaws = checkRelation(field, relation)
  return flaws.length > 0 ? { flaws } : { relation }
}

/** One a line; empty ones count as lines and stand for nothing. @throws InvalidRelation that names the lines of the first twenty flaws */
export function parseRelationLines(text: string): Relation[] {
  const flaws: Flaw[] = []
  const relations = text.split(/\r?\n/).flatMap((line, index) => {
    if (line.trim() === '') return []
    const read = readRelation(line.trim(), `line ${index + 1}`)
    if ('relation' in read) return [read.relation]
    flaws.push(...read.flaws)
    return []
  })
  if (flaws.length > 0) throw new InvalidRelation(flaws.slice(0, 20))
  return relations
}

export function checkRelationName(field: string, text: string): Flaw[] {
  if (isRelationName(text)) return []
  return [
    {
      field,
      problem: `(${quote(text)}) cannot be the name of a relation`,
      fix: 'Use 1 to 64 lower-case letters, digits and underscores, beginning with a letter, such as owner.',
    },
  ]
}

function checkRelation(field: string, { object, relation, subject }: Relation): Flaw[] {
  const flaws = [
    ...checkEntity(`${field}.object`, object),
    ...checkRelationName(`${field}.relation`, relation),
    ...checkSubject(`${field}.subject`, subject),
  ]
  if (relation === parentRelation && subject.relation !== undefined)
    flaws.push({
      field: `${field}.subject.relation`,
      problem: 'cannot be there: a parent is one object, not a set',
      fix: 'Write the parent alone, such as order:88#parent@folder:7.',
    })
  if (subject.id === '*')
    flaws.push({
      field: `${field}.subject.id`,
      problem: 'is *, which stands for nobody',
      fix: 'Name the subject, or a group; what everybody may do is a policy.',
    })
  return flaws
}

function checkSubject(field: string, subject: SubjectRef): Flaw[] {
  const set = subject.relation === undefined ? [] : checkRelationName(`${field}.relation`, subject.relation)
  return [...checkEntity(field, subject), ...set]
}

function checkEntity(field: string, ref: EntityRef): Flaw[] {
  const flaws: Flaw[] = []
  flaws.push(...checkTypeName(`${field}.type`, ref.type))
  if (!id.test(ref.id))
    flaws.push({
      field: `${field}.id`,
      problem: `(${quote(ref.id)}) cannot be an id`,
      fix: 'Use 1 to 256 printable characters without #, and no space at either end: order:88 has the id 88.',
    })
  return flaws
}

export function checkTypeName(field: string, text: string): Flaw[] {
  if (name.test(text)) return []
  return [
    {
      field,
      problem: `(${quote(text)}) cannot be a type`,
      fix: 'Use 1 to 64 lower-case letters, digits and underscores, beginning with a letter: order:88 has the type order.',
    },
  ]
}

function splitRelation(text: string): Relation | undefined {
  const [object = '', stands, set, ...rest] = text.split('#')
  const at = stands?.indexOf('@') ?? -1
  if (stands === undefined || at < 0 || rest.length > 0) return undefined
  const subject = splitEntity(stands.slice(at + 1))
  return {
    object: splitEntity(object),
    relation: stands.slice(0, at),
    subject: set === undefined ? subject : { ...subject, relation: set },
  }
}

function splitSubject(text: string): SubjectRef {
  const at = text.indexOf('#')
  return at < 0 ? splitEntity(text) : { ...splitEntity(text.slice(0, at)), relation: text.slice(at + 1) }
}

function splitEntity(text: string): EntityRef {
  const at = text.indexOf(':')
  return at < 0 ? { type: text, id: '' } : { type: text.slice(0, at), id: text.slice(at + 1) }
}

/** @throws InvalidRelation where there is a flaw */
export function refuse(flaws: readonly Flaw[]): void {
  if (flaws.length > 0) throw new InvalidRelation(flaws)
}
