// Pictures that a declarative file names: files beside it, read when it is applied. An export names a picture by its hash, which says "as it
// is" (docs/decisions/032).
import { isLogoHash } from '#src/clients/logos.ts'
import { mostBytes, type Picture, readPicture } from '#src/clients/pictures.ts'
import type { Flaw } from '#src/refusal.ts'
import { checkBeside, readBeside } from './beside.ts'
import { within } from './check.ts'
import { InvalidDeclaration } from './errors.ts'
import { withLines } from './lines.ts'
import type { WrittenDeclaration } from './schema.ts'

/** By what the file says: a path. */
export type Logos = ReadonlyMap<string, Picture>

/** @param folder where the file lies. @throws InvalidDeclaration */
export function readLogos(declaration: WrittenDeclaration, folder: string): Logos {
  const { clients = [] } = declaration
  const logos = new Map<string, Picture>()
  const flaws = clients.flatMap(({ logo }, index) => {
    if (logo === undefined || isLogoHash(logo) || logos.has(logo)) return []
    const read = readLogo(folder, logo)
    if ('flaws' in read) return within(`clients[${index}]`, read.flaws)
    logos.set(logo, read.picture)
    return []
  })
  if (flaws.length > 0) throw new InvalidDeclaration(withLines(declaration, flaws))
  return logos
}

/** The hashes that clients of the file name. */
export function logoHashesIn({ clients = [] }: WrittenDeclaration): string[] {
  return clients.flatMap(({ logo }) => (logo !== undefined && isLogoHash(logo) ? [logo] : []))
}

/** @param known by what the file says. */
export function missingLogo(field: string, logo: string | undefined, known: Logos): Flaw[] {
  if (logo === undefined || known.has(logo)) return []
  return isLogoHash(logo)
    ? [{ field, problem: 'is a picture that no client has here', fix: 'Put its file beside this one, and name that.' }]
    : [{ field, problem: 'is a file, and there are none here', fix: 'Apply it with: sallyport apply --file FILE.' }]
}

function readLogo(folder: string, logo: string): ReturnType<typeof readPicture> {
  const flaws = checkBeside('logo', logo)
  if (flaws.length > 0) return { flaws }
  const read = readBeside('logo', { folder, path: logo, mostBytes })
  return 'flaws' in read ? read : readPicture('logo', read.bytes)
}
