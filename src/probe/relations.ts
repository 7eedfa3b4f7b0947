// An object that is there already becomes A's where relations are kept here: the document says to gateways which one it takes. It goes with A.
import { type Relation, writeRelations } from '#src/access/relations/relations.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database } from '#src/db/database.ts'
import type { KnownObjects } from './objects.ts'
import type { Target } from './targets.ts'

export async function giveObjects(
  { prisma }: Database,
  targets: readonly Target[],
  objects: KnownObjects,
  sub: string,
  change: Change,
): Promise<void> {
  const write = new Map<string, Relation>()
  for (const { relation, parameters } of targets) {
    const parameter = parameters.find(({ name }) => name === relation?.parameter)
    const object = parameter && (objects.get(parameter.name) ?? objects.get(parameter.segment))
    if (!relation || !object?.given) continue
    const given = {
      object: { type: relation.type, id: object.value },
      relation: relation.relation,
      subject: { type: 'user', id: sub },
    }
    write.set(JSON.stringify(given), given)
  }
  if (write.size > 0) await writeRelations(prisma, { write: [...write.values()] }, change)
}
