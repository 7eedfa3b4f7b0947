// Storage as the engine asks for it: one small store per kind of row. Nothing here talks to the database by itself: reads are
// remembered by the unit of work, writes are collected there and leave in its one commit. The contract, line by line, is
// tested in test/contract/.
import type { Adapter, AdapterFactory } from 'oidc-provider'
import type { TokenKind } from '#src/tokens/kinds.ts'
import { tokenKinds } from '#src/tokens/kinds.ts'
import { clientStore } from './client-store.ts'
import { grantStore } from './grant-store.ts'
import { interactionStore } from './interaction-store.ts'
import { replayStore } from './replay-store.ts'
import { sessionStore } from './session-store.ts'
import type { AdapterDeps } from './store.ts'
import { tokenStore } from './token-store.ts'

export function createAdapter(deps: AdapterDeps): AdapterFactory {
  return (model: string): Adapter => {
    if (model in tokenKinds) return tokenStore(model as TokenKind, deps)
    switch (model) {
      case 'Session':
        return sessionStore(deps)
      case 'Grant':
        return grantStore(deps)
      case 'Interaction':
        return interactionStore(deps)
      case 'ReplayDetection':
        return replayStore(deps)
      case 'Client':
        return clientStore(deps)
      default:
        // A model of a feature that is not switched on: better no start than silent loss.
        throw new Error(`no store for the engine's model ${model}`)
    }
  }
}
