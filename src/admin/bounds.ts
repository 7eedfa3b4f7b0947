// Nobody hands out what they lack: whoever gives a role, a scope or a secret could else make somebody who may do more than they may, and
// then be that somebody (CVE-2026-9795). Only scopes of Sallyport's own API count: what people may do elsewhere is for them to hand out.
import { permissionsOf } from '#src/access/roles.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import type { Db } from '#src/db/database.ts'
import type { TwoDoors } from '#src/oauth/two-doors.ts'
import type { Caller } from './guard.ts'

export type Bounds = { doors: TwoDoors; caller: Caller }

/** @param names scopes, of any API. @throws HttpError 403 that names the first own one that the caller lacks. */
export async function refuseBeyond({ doors, caller }: Bounds, names: Iterable<string>): Promise<void> {
  const asked = [...names].filter((name) => Object.hasOwn(ownScopes, name))
  if (asked.length === 0) return
  const held = await doors.scopesOf(caller.subject)
  const more = asked.find((name) => !held.has(name))
  if (more !== undefined) throw doors.forbidden(more)
}

/** Of scopes by API only those of our own count: the others are for whoever manages keys and clients to hand out. @throws HttpError 403 */
export function refuseBeyondApis(bounds: Bounds, apis: Readonly<Record<string, readonly string[]>>): Promise<void> {
  return refuseBeyond(bounds, apis[bounds.doors.api().identifier] ?? [])
}

/** As refuseBeyondApis, of scopes that clients have. @throws HttpError 403 */
export function refuseBeyondScopes(bounds: Bounds, scopes: readonly { api: string; scope: string }[]): Promise<void> {
  const own = scopes.filter(({ api }) => api === bounds.doors.api().identifier)
  return refuseBeyond(
    bounds,
    own.map(({ scope }) => scope),
  )
}

/** Who may do more than the caller would be weakened by somebody below them. @throws HttpError 403 */
export async function refuseBeyondPerson(bounds: Bounds, db: Db, userId: string): Promise<void> {
  await refuseBeyond(bounds, await permissionsOf(db, userId, bounds.doors.api().identifier))
}

/** What roles permit here. @throws HttpError 403 */
export async function refuseBeyondRoles(bounds: Bounds, db: Db, roles: readonly string[]): Promise<void> {
  const rows = await db.rolePermission.findMany({
    where: { roleName: { in: [...roles] } },
    select: { permission: true },
  })
  await refuseBeyond(
    bounds,
    rows.map((row) => row.permission),
  )
}

/** What a client may do here, by its scopes and its roles: whoever gives it a secret or an address can be that client.
 *  @throws HttpError 403 */
export async function refuseBeyondClient(
  bounds: Bounds,
  db: Db,
  client: { apis?: Readonly<Record<string, readonly string[]>> | undefined; roles?: readonly string[] | undefined },
): Promise<void> {
  await refuseBeyondApis(bounds, client.apis ?? {})
  await refuseBeyondRoles(bounds, db, client.roles ?? [])
}
