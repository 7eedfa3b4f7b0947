// Secrets of an application. A new one is shown once, in the answer that made it; those before it can stay good for a while, so that
// nothing stops while programs are told.
import { refuseBeyondClient } from '#src/admin/bounds.ts'
import { patchClient } from '#src/clients/editing.ts'
import { addClientSecret, newClientSecret, rotateClientSecret, SecretNotFound } from '#src/clients/secrets.ts'
import { type ClientRecord, clientSettings, describeClient } from '#src/clients/settings.ts'
import { hasSecret } from '#src/clients/types.ts'
import { atomically } from '#src/db/transaction.ts'
import { fingerprint } from '#src/editing.ts'
import { refuseDecision } from '#src/http/decision.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import type { Choice } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, type PageDeps } from '../page.ts'
import { duration } from './durations.ts'
import { type ApplicationHead, headOf, hrefOf, readApplication, typeOf } from './read.ts'

export type SecretsPage = ApplicationHead & {
  seen: string
  /** Newest first. */
  secrets: readonly { id: string; href: string; since: Moment; ends: string | undefined; over: boolean }[]
  overlaps: readonly Choice[]
  flaws: readonly Flaw[]
}
export type SecretValuePage = {
  title: string
  back: { href: string; label: string }
  id: string
  value: string
  others: number
  href: string
}

const page = template<SecretsPage>('admin/console/application-secrets')
const valuePage = template<SecretValuePage>('admin/console/application-secret-value')

/** Seconds; '' leaves those there are as they are. */
const overlaps = ['86400', '', '0', '3600', '604800', '2592000'] as const

export function secretsPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/applications/:id/secrets',
    section: 'applications',
    scope: 'clients:read',
    writes: 'clients:write',
    sensitive: true,

    async show(request) {
      show(request, await readWithSecrets(request), [], 200)
    },

    async submit(request, form) {
      const { bounds, change, words } = request
      if (form.get('decision') !== 'create') refuseDecision()
      const record = await readWithSecrets(request)
      const overlap = overlaps.find((value) => value === form.get('overlap')) ?? refuseDecision()
      await refuseBeyondClient(bounds, prisma, clientSettings(record))
      const secret = { value: newClientSecret() }
      const result = await attempt(() =>
        atomically(prisma, async (tx) => {
          // A form that is sent twice is from before the secret that its first time made.
          await patchClient(tx, record.id, {}, change, form.get('seen') ?? '')
          return overlap === ''
            ? addClientSecret(tx, record.id, secret, change)
            : rotateClientSecret(tx, record.id, secret, { overlapSeconds: Number(overlap) }, change)
        }),
      )
      if (!result.ok) return show(request, await readWithSecrets(request), result.flaws, result.status)
      render(
        request,
        valuePage,
        {
          title: words.t('console.applications.newSecret'),
          back: { href: hrefOf(record.id), label: record.name },
          id: record.id,
          value: secret.value,
          others: record.secrets.length,
          href: `${hrefOf(record.id)}/secrets`,
        },
        { section: 'applications' },
      )
    },
  }

  /** @throws SecretNotFound where there can be none. */
  async function readWithSecrets(request: ConsoleRequest): Promise<ClientRecord> {
    const record = await readApplication(prisma, request)
    if (!hasSecret(typeOf(record))) throw new SecretNotFound('None')
    return record
  }

  function show(request: ConsoleRequest, record: ClientRecord, flaws: readonly Flaw[], status: number): void {
    const { words, now, person } = request
    const { t } = words
    const at = (time: Date): Moment => moment(words, time, now, person.zoneinfo)
    const href = `${hrefOf(record.id)}/secrets`
    render(
      request,
      page,
      {
        ...headOf(request, record, 'secrets'),
        seen: fingerprint(describeClient(record)),
        secrets: [...record.secrets]
          .sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime())
          .map(({ id, createdAt, expiresAt }) => ({
            id,
            href: `${href}/${id}`,
            since: at(createdAt),
            ends: expiresAt ? at(expiresAt).full : undefined,
            over: expiresAt !== null && expiresAt <= now,
          })),
        overlaps: overlaps.map((value) => ({
          value,
          label:
            value === ''
              ? t('console.applications.overlap.keep')
              : value === '0'
                ? t('console.applications.overlap.none')
                : t('console.applications.overlap.some', { time: duration(words, Number(value)) }),
          selected: value === overlaps[0],
        })),
        flaws,
      },
      { section: 'applications', status },
    )
  }
}
