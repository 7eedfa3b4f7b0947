// The application that an address of the console names, and what every page about it has above: its name, its state, its parts.
import { findClient } from '#src/clients/clients.ts'
import { ClientNotFound } from '#src/clients/errors.ts'
import { logoAddress } from '#src/clients/logos.ts'
import type { ClientRecord } from '#src/clients/settings.ts'
import { type ClientType, hasSecret } from '#src/clients/types.ts'
import type { Db } from '#src/db/database.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import type { ConsoleRequest } from '../page.ts'

export const applicationsPath = '/admin/applications'

/** An id may be the word that the wizard lives under. */
export const hrefOf = (id: string): string => `${applicationsPath}/${id === 'new' ? '%6Eew' : encodeURIComponent(id)}`

/** @throws ClientNotFound */
export async function readApplication(db: Db, { ctx }: ConsoleRequest): Promise<ClientRecord> {
  const id = String(ctx.params.id)
  const record = await findClient(db, id)
  if (!record) throw new ClientNotFound(id)
  return record
}

export const typeOf = (record: ClientRecord): ClientType => record.type as ClientType

export const typeWords = {
  web: 'console.applications.type.web',
  spa: 'console.applications.type.spa',
  native: 'console.applications.type.native',
  device: 'console.applications.type.device',
  service: 'console.applications.type.service',
} as const satisfies Record<ClientType, MessageKey>

type Part = 'overview' | 'settings' | 'secrets' | 'code' | 'try'

const parts: readonly {
  name: Part
  path: string
  label: MessageKey
  writes?: true
  has?: (type: ClientType) => boolean
}[] = [
  { name: 'overview', path: '', label: 'console.applications.overview' },
  { name: 'settings', path: '/settings', label: 'console.applications.settings', writes: true },
  { name: 'secrets', path: '/secrets', label: 'console.applications.secrets', has: hasSecret },
  { name: 'code', path: '/code', label: 'console.applications.code' },
  { name: 'try', path: '/try', label: 'console.applications.try', writes: true },
]

export type ApplicationHead = {
  href: string
  id: string
  name: string
  initial: string
  logo: string | undefined
  kind: string
  disabled: boolean
  back: { href: string; label: string }
  tabs: readonly { href: string; label: string; current: boolean }[]
}

export function headOf({ words: { t }, held }: ConsoleRequest, record: ClientRecord, current: Part): ApplicationHead {
  const href = hrefOf(record.id)
  const type = typeOf(record)
  return {
    href,
    id: record.id,
    name: record.name,
    initial: [...record.name][0] ?? '',
    logo: logoAddress(record.logo),
    kind: t(typeWords[type]),
    disabled: record.disabledAt !== null,
    back: { href: applicationsPath, label: t('console.applications.title') },
    tabs: parts
      .filter(({ writes, has }) => (has?.(type) ?? true) && (!writes || held.has('clients:write')))
      .map(({ name, path, label }) => ({ href: href + path, label: t(label), current: name === current })),
  }
}
