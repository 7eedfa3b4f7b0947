// What signs tokens, and under which SECRET_KEY the database is sealed.
import { readSigningKeys } from '#src/admin/signing-keys.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { droppableFrom, readSealing } from '#src/keys/seal-rotation.ts'
import type { ShownSigningKey } from '#src/keys/signing-key-list.ts'
import type { ConsolePage, ConsoleRequest, PageDeps } from '../page.ts'

export type KeysPage = {
  keys: readonly {
    kid: string
    alg: string
    state: string
    badge: string
    made: Moment
    change: string
    /** Of what is not retired yet. */
    retire: string | undefined
  }[]
  secretKey: { keys: number; since: string; waiting: string; droppable: string }
}

const page = template<KeysPage>('admin/console/keys')

export const stateWords = {
  current: { word: 'console.keys.current', badge: 'badge-good' },
  next: { word: 'console.keys.next', badge: 'badge-warn' },
  retired: { word: 'console.keys.retired', badge: '' },
} as const satisfies Record<string, { word: MessageKey; badge: string }>

const changeWords = {
  signs: 'console.keys.signsFrom',
  retires: 'console.keys.retiresFrom',
  removed: 'console.keys.removedFrom',
} as const satisfies Record<NonNullable<ShownSigningKey['nextChange']>['what'], MessageKey>

export function keysPage(deps: PageDeps): ConsolePage {
  return {
    path: '/admin/keys',
    section: 'keys',
    scope: 'keys:read',
    async show(request) {
      const { words, now, person } = request
      const keys = await readSigningKeys(deps, now)
      deps.render(
        request,
        page,
        {
          keys: keys.map(({ kid, alg, state, createdAt, nextChange }) => {
            const { word, badge } = stateWords[state as keyof typeof stateWords]
            return {
              ...{ kid, alg, badge },
              state: words.t(word),
              made: moment(words, createdAt, now, person.zoneinfo),
              change: nextChange
                ? words.t(changeWords[nextChange.what], {
                    when: moment(words, nextChange.at, now, person.zoneinfo).full,
                  })
                : '',
              retire: state === 'retired' ? undefined : `/admin/keys/retire/${encodeURIComponent(kid)}`,
            }
          }),
          secretKey: await sealing(request),
        },
        { section: 'keys' },
      )
    },
  }

  async function sealing({ words, now, person }: ConsoleRequest): Promise<KeysPage['secretKey']> {
    const { secretKeys, config, database } = deps
    const found = await readSealing(database)
    const full = (at: Date) => moment(words, at, now, person.zoneinfo).full
    const waiting = Object.values(found.pending ?? {}).reduce((sum, rows) => sum + rows, 0)
    const from = droppableFrom(found, secretKeys, config.sessionTtlSeconds)
    const isOnly = secretKeys.fingerprints.length === 1
    return {
      keys: secretKeys.fingerprints.length,
      since: found.since ? full(found.since) : '',
      waiting: found.pending ? String(waiting) : words.t('console.keys.notCounted'),
      droppable: isOnly
        ? words.t('console.keys.onlyOne')
        : from === undefined
          ? words.t('console.keys.stillNeeded')
          : words.t('console.keys.droppableFrom', { when: full(from) }),
    }
  }
}
