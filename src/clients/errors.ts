// What can be wrong with a client, by name.
import { type Flaw, quote, Refusal } from '#src/refusal.ts'

export class InvalidClient extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

export class ClientNotFound extends Refusal {
  constructor(id: string) {
    super('missing', [
      { field: 'clientId', problem: `${quote(id)} is not a client here`, fix: 'Check it against the list of clients.' },
    ])
  }
}

export class ClientExists extends Refusal {
  constructor(id: string) {
    super('taken', [
      { field: 'clientId', problem: `${quote(id)} is taken`, fix: 'Choose another, or change the existing client.' },
    ])
  }
}
