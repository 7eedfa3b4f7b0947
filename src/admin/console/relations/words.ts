// Objects and subjects as they are typed and shown: order:88, user:42, group:staff#member; a person by their address, too.
import { type EntityRef, formatEntity, parseSubject, type SubjectRef } from '#src/access/relations/text.ts'
import { namesOf } from '#src/audit/names.ts'
import { type ConsoleRequest, holds, type PageDeps } from '../page.ts'
import { findSubject } from '../subjects.ts'

export const relationsPath = '/admin/relations'

export type Shown = {
  /** As it is written. */
  text: string
  /** Whom it stands for, where somebody may see that. */
  name: string | undefined
  /** To what is known of it. */
  href: string
}

/** @returns undefined for an address that is nobody's. @throws InvalidRelation */
export async function readSubject({ database }: PageDeps, text: string): Promise<SubjectRef | undefined> {
  if (!/^[^:#@]+@[^:#@]+$/.test(text)) return parseSubject(text, 'subject')
  const found = await findSubject(database.prisma, text)
  return found && { type: found.kind, id: found.id }
}

/** @returns what shows entities of a page. Addresses of people are for those who may see people. */
export async function shownAs(
  { database }: PageDeps,
  { held }: Pick<ConsoleRequest, 'held'>,
  entities: readonly EntityRef[],
): Promise<(side: 'object' | 'subject', entity: SubjectRef) => Shown> {
  const records = entities.map(({ type, id }) => ({
    ...{ actorKind: type, actorId: id, targetKind: null, targetId: null, clientId: null },
  }))
  const names = await namesOf(database, records)
  const mayName = (type: string) =>
    (type === 'user' && holds(held, 'users:read')) || (type === 'client' && holds(held, 'clients:read'))
  return (side, { type, id, relation }) => {
    const entity = formatEntity({ type, id })
    const text = relation === undefined ? entity : `${entity}#${relation}`
    return {
      text,
      name: mayName(type) ? names.of(type, id) : undefined,
      href: `${relationsPath}?${new URLSearchParams({ [side]: text })}`,
    }
  }
}
