// What can be wrong with a declarative file, by name.
import { type Flaw, Refusal } from '#src/refusal.ts'

/** Nothing was changed. `field` of every flaw is a path such as `clients[2].redirectUris[0]`, with its line in the file. */
export class InvalidDeclaration extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

/** It would take something away that others, which the file does not speak of, depend on. Nothing was changed. */
export class StillInUse extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('in_use', flaws)
  }
}
