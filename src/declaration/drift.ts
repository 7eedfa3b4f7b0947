// What is different from what the declarative files said when they were applied last. Nothing is changed, and secrets are not compared: they count at
// creation only, and are replaced where they are used.
import { routeName } from '#src/apis/routes.ts'
import type { Db } from '#src/db/database.ts'
import { Refusal } from '#src/refusal.ts'
import { type KeptDeclaration, type KeptKind, type KeptSetting, type KeptUser, namesIn } from './applied.ts'
import { compare } from './compare.ts'
import { type Logos, logoHashesIn } from './logos.ts'
import type { Declaration } from './schema.ts'

export type Difference = {
  kind: KeptKind
  /** Of a person their id. */
  id: string
  /** It is not there any more. */
  missing: boolean
  /** Names of what is different about it. */
  fields: string[]
}

export type Drift = {
  /** Without its folder. */
  file: string
  appliedAt: Date
  differences: Difference[]
  /** Why it could not be applied now, in which case nothing is compared; null: it could. */
  refused: string | null
}

/** A file of which everything is as it said is in the list, too. The one applied last comes first. */
export async function readDrift(db: Db): Promise<Drift[]> {
  const rows = await db.appliedDeclaration.findMany({ orderBy: [{ appliedAt: 'desc' }, { file: 'asc' }] })
  const all: Drift[] = []
  for (const { file, appliedAt, declared } of rows)
    all.push({ file, appliedAt, ...(await lookAt(db, declared as KeptDeclaration)) })
  return all
}

async function lookAt(db: Db, declared: KeptDeclaration): Promise<Pick<Drift, 'differences' | 'refused'>> {
  const { users, ids, gone } = await findPeople(db, declared.users)
  const [settings, branding] = [sectionOf(declared.settings), sectionOf(declared.branding)]
  const declaration = { ...declared, users, settings, branding } as Declaration
  try {
    const steps = await compare(db, declaration, { prune: false, logos: namesOnly(logoHashesIn(declaration)) })
    const sameOrder = await isInOrder(db, declaration)
    const listed = new Set(namesIn(declared))
    const changed = steps.flatMap(({ action, kind, id: said, fields }): Difference[] => {
      const id = kind === 'user' ? (ids.get(said) ?? said) : said
      // Routes are numbered through: those of others are moved by where these stand.
      const names = Object.keys(fields ?? {}).filter((name) => !(kind === 'route' && name === 'position' && sameOrder))
      if (!listed.has(`${kind} ${id}`) || (action === 'update' && names.length === 0)) return []
      return [{ kind: kind as KeptKind, id, missing: action === 'create', fields: names }]
    })
    return { differences: [...changed, ...gone], refused: null }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { differences: gone, refused: error.message }
  }
}

const sectionOf = (kept: readonly KeptSetting[] | undefined) =>
  kept && Object.fromEntries(kept.map(({ key, value }) => [key, value]))

/** One that no client has any more is a difference, not a reason to compare nothing. */
const namesOnly = (hashes: readonly string[]): Logos =>
  new Map(hashes.map((hash) => [hash, { name: hash.slice(hash.indexOf('-') + 1), body: new Uint8Array() }]))

/** People are known by their id: an address may have changed. */
async function findPeople(db: Db, kept: readonly KeptUser[] | undefined) {
  const records = kept
    ? await db.user.findMany({ where: { id: { in: kept.map(({ id }) => id) } }, select: { id: true, email: true } })
    : []
  const emails = new Map(records.map(({ id, email }) => [id, email]))
  return {
    users: kept?.flatMap(({ id, ...user }) => {
      const email = emails.get(id)
      return email === undefined ? [] : [{ ...user, email }]
    }),
    ids: new Map(records.map(({ id, email }) => [email, id])),
    gone: (kept ?? []).flatMap(({ id }): Difference[] =>
      emails.has(id) ? [] : [{ kind: 'user', id, missing: true, fields: [] }],
    ),
  }
}

/** The first that fits a request decides, so their order among themselves is part of what was said. */
async function isInOrder(db: Db, { routes = [] }: Declaration): Promise<boolean> {
  if (routes.length === 0) return true
  const listed = new Set(routes.map(routeName))
  const records = await db.route.findMany({
    select: { host: true, method: true, path: true },
    orderBy: { position: 'asc' },
  })
  const now = records.map(routeName).filter((name) => listed.has(name))
  return (
    now.join('\n') ===
    routes
      .map(routeName)
      .filter((name) => now.includes(name))
      .join('\n')
  )
}
