// Rotating and retiring signing keys: a page that says what happens, then a button. Nothing that was signed stops being good.
import { readSigningKeys } from '#src/admin/signing-keys.ts'
import { moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { retireSigningKey, rotateSigningKeys, SigningKeyNotFound } from '#src/keys/key-rotation.ts'
import { signingAlgorithms } from '#src/keys/signer.ts'
import type { Flaw } from '#src/refusal.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'

export type KeyRotatePage = {
  /** By algorithm, what takes the place of what. */
  changes: readonly { alg: string; current: string; next: string }[]
  flaws: readonly Flaw[]
}
export type KeyRetirePage = {
  kid: string
  alg: string
  /** It signs; else it is only announced. */
  signs: boolean
  flaws: readonly Flaw[]
}

const rotatePage = template<KeyRotatePage>('admin/console/key-rotate')
const retirePage = template<KeyRetirePage>('admin/console/key-retire')
const common = { section: 'keys', scope: 'keys:read', writes: 'keys:write', sensitive: true } as const

export function rotateKeysPage(deps: PageDeps): ConsolePage {
  return {
    ...common,
    path: '/admin/keys/rotate',
    show: (request) => show(request, [], 200),
    async submit(request, form) {
      const { change, ctx, words, now, person } = request
      const alg = signingAlgorithms.find((one) => one === form.get('alg'))
      const { rotated, early } = await rotateSigningKeys(deps.database, deps.secretKeys, {
        afterSeconds: 0,
        unannounced: form.get('unannounced') === 'yes',
        change,
        ...(alg && { algorithms: [alg] }),
      })
      if (rotated.length > 0) return goOn(ctx, '/admin/keys', 'rotated')
      const flaws = early.map(({ alg: field, from }) => ({
        field,
        problem: 'has a next key that was announced a moment ago, which not every verifier knows yet',
        fix: `Come back after ${moment(words, from, now, person.zoneinfo).full}.`,
      }))
      await show(request, flaws, 409)
    },
  }

  async function show(request: ConsoleRequest, flaws: readonly Flaw[], status: number): Promise<void> {
    const keys = await readSigningKeys(deps, request.now)
    const kidOf = (alg: string, state: string) => keys.find((key) => key.alg === alg && key.state === state)?.kid ?? ''
    const algorithms = [...new Set(keys.map(({ alg }) => alg))]
    const changes = algorithms.map((alg) => ({
      alg,
      current: kidOf(alg, 'current'),
      next: kidOf(alg, 'next'),
    }))
    deps.render(request, rotatePage, { changes, flaws }, { section: 'keys', status })
  }
}

export function retireKeyPage(deps: PageDeps): ConsolePage {
  return {
    ...common,
    path: '/admin/keys/retire/:kid',
    show: (request) => show(request, [], 200),
    async submit(request, form) {
      const { ctx, change } = request
      const result = await attempt(() =>
        retireSigningKey(deps.database, deps.secretKeys, {
          kid: String(ctx.params.kid),
          unannounced: form.get('unannounced') === 'yes',
          change,
        }),
      )
      if (!result.ok) return show(request, result.flaws, result.status)
      goOn(ctx, '/admin/keys', 'ended')
    },
  }

  async function show(request: ConsoleRequest, flaws: readonly Flaw[], status: number): Promise<void> {
    const asked = String(request.ctx.params.kid)
    const key = (await readSigningKeys(deps, request.now)).find(({ kid }) => kid === asked)
    if (!key) throw new SigningKeyNotFound(asked)
    const { kid, alg, state } = key
    deps.render(request, retirePage, { kid, alg, signs: state === 'current', flaws }, { section: 'keys', status })
  }
}
