// Two editors of one thing: the second hears that what they saw is no longer what is there, and nothing is overwritten. What an editor saw
// travels as a fingerprint of the description they were shown, and is compared where the change is made, under the lock of that change.
import { hash } from 'node:crypto'
import { type Flaw, Refusal } from './refusal.ts'

export class ChangedMeanwhile extends Refusal {
  constructor() {
    super('changed', [
      {
        field: 'If-Match',
        problem: 'is not what this looks like now: somebody changed it since you read it',
        fix: 'Read it again, look at what is different, and send your change with its new ETag.',
      },
    ])
  }
}

/** @param described what a room's describe… function says. @returns 22 characters, the same for the same description. */
export const fingerprint = (described: object): string =>
  hash('sha256', JSON.stringify(described), 'base64url').slice(0, 22)

/** @param seen of the description that the editor saw; undefined: they do not ask. @throws ChangedMeanwhile */
export function refuseChanged(seen: string | undefined, described: object): void {
  if (seen !== undefined && seen !== fingerprint(described)) throw new ChangedMeanwhile()
}

/** What is to be changed: a field that is left out keeps its value, null puts it back to its default (RFC 7396, of the first level). */
export type Patch<Input> = { readonly [K in keyof Input]?: Input[K] | null | undefined }

/** @param current the settings as they are, where null stands for nothing. */
export function applyPatch<Input extends object>(
  current: { readonly [K in keyof Input]?: Input[K] | null },
  patch: Patch<Input>,
): Input {
  const said = Object.entries(patch).filter(([, value]) => value !== undefined)
  const all = { ...current, ...Object.fromEntries(said) }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null)) as Input
}

/** Others depend on what is to be deleted. Each flaw is one kind of them. */
export class HasDependents extends Refusal {
  constructor(what: string, dependents: Dependents) {
    super(
      'in_use',
      Object.entries(dependents).flatMap(([kind, count]): Flaw[] =>
        count === 0
          ? []
          : [
              {
                field: kind,
                problem: `${count === 1 ? 'is one that depends' : `are ${count} that depend`} on ${what}`,
                fix: 'Look at them first; with cascade=true they lose it, or go with it.',
              },
            ],
      ),
    )
  }
}

/** How many of each kind depend on something. */
export type Dependents = Readonly<Record<string, number>>

/** @throws HasDependents */
export function refuseDependents(what: string, dependents: Dependents): void {
  if (Object.values(dependents).some((count) => count > 0)) throw new HasDependents(what, dependents)
}
