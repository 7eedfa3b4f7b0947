// The picture of a client. Its bytes are a row of their own, read when a browser asks for them; the client's row has the name alone, which
// is the hash, so that what is read for every request stays small.
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { ClientNotFound } from './errors.ts'
import { type Picture, type PictureType, pictureTypes } from './pictures.ts'

const nameForm = /^([A-Za-z0-9_-]{43})\.(png|jpg|webp)$/

/** @param picture null: none. @throws ClientNotFound */
export function setClientLogo(db: Db, clientId: string, picture: Picture | null, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    const { count } = await tx.client.updateMany({
      where: { id: clientId },
      data: { logo: picture?.name ?? null, updatedAt: change.now },
    })
    if (count === 0) throw new ClientNotFound(clientId)
    if (picture)
      await tx.clientLogo.upsert({ where: { clientId }, create: { clientId, ...picture }, update: { ...picture } })
    else await tx.clientLogo.deleteMany({ where: { clientId } })
    await recordAudit(
      tx,
      {
        event: 'client.updated',
        outcome: 'success',
        actor: change.actor,
        target: { kind: 'client', id: clientId },
        clientId,
        detail: { logo: picture !== null },
      },
      change.origin,
    )
  })
}

/** @param name as it stands in the address. @returns null for one that no client has. */
export async function findLogo(db: Db, name: string): Promise<{ body: Uint8Array; type: string } | null> {
  const ending = nameForm.exec(name)?.[2]
  if (!ending) return null
  const row = await db.clientLogo.findFirst({ where: { name }, select: { body: true } })
  return row && { body: row.body, type: pictureTypes[ending as PictureType] }
}

/** @param hashes of logoHash. @returns those that some client has, by their hash. */
export async function findLogosByHash(db: Db, hashes: readonly string[]): Promise<Map<string, Picture>> {
  const names = hashes.flatMap((hash) =>
    Object.keys(pictureTypes).map((ending) => `${hash.slice(hashPrefix.length)}.${ending}`),
  )
  if (names.length === 0) return new Map()
  const rows = await db.clientLogo.findMany({ where: { name: { in: names } } })
  return new Map(rows.map(({ name, body }) => [logoHash(name), { name, body: new Uint8Array(body) }]))
}

const hashPrefix = 'sha256-'

/** As it stands in an export: `sha256-` and 43 characters. */
export const logoHash = (name: string): string => hashPrefix + name.slice(0, 43)

export const isLogoHash = (text: string) => /^sha256-[A-Za-z0-9_-]{43}$/.test(text)

/** Where it is served. @param name of a client's row. */
export const logoAddress = (name: string | null): string | undefined => (name === null ? undefined : `/logos/${name}`)
