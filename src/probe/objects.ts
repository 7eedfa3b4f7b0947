// Objects of A's: what stands in `/orders/{id}` so that it is A's and not B's. An object is named after the segment before its parameter, or after
// the parameter. It is there already (`orders=88`), is A themselves (`users={sub}`), or is made by A and removed again:
//
//   objects:
//     orders: { create: POST /orders, body: { item: a compass }, id: id, remove: "DELETE /orders/{id}" }
//     users: "{sub}"
import { z } from 'zod'
import { readYaml } from '#src/openapi/document.ts'
import { type Flaw, quote } from '#src/refusal.ts'
import type { Note, Target } from './targets.ts'
import { isSuccess } from './verdicts.ts'
import type { Wire } from './wire.ts'

type Recipe = { create: string; body?: unknown; id?: string | undefined; remove?: string | undefined }
export type ObjectPlan = Readonly<Record<string, string | Recipe>>

/** By name. `given`: it was there before. */
export type KnownObjects = ReadonlyMap<string, { value: string; given: boolean }>

const name = z.string().regex(/^[A-Za-z][\w-]{0,63}$/)
const value = z.union([z.string().min(1).max(200), z.number().transform(String)])
const recipe = z.strictObject({
  create: z.string(),
  body: z.json().optional(),
  id: z.string().optional(),
  remove: z.string().optional(),
})
const objectsFile = z.strictObject({ objects: z.record(name, z.union([value, recipe])) })

export function readObjects(source: string, place: string): { objects: ObjectPlan } | { flaws: Flaw[] } {
  const read = readYaml(source)
  if ('problem' in read) return { flaws: [{ field: place, problem: read.problem, fix: 'It must be YAML or JSON.' }] }
  const parsed = objectsFile.safeParse(read.value)
  if (parsed.success) return { objects: parsed.data.objects }
  return {
    flaws: parsed.error.issues.map(({ path }) => ({
      field: `${place}: ${path.map(String).join('.') || 'objects'}`,
      problem: 'has the wrong form',
      fix: 'Write an id, or { create: POST /orders, body: …, id: …, remove: … }.',
    })),
  }
}

/** What a plan names must be operations of the document, and its objects must be in some path. */
export function checkObjects(objects: ObjectPlan, targets: readonly Target[]): Flaw[] {
  return Object.entries(objects).flatMap(([named, planned]): Flaw[] => {
    const field = `objects.${named}`
    if (!targets.some(({ parameters }) => parameters.some((one) => one.segment === named || one.name === named)))
      return [
        {
          field,
          problem: 'is in no path',
          fix: 'Name the segment before a parameter, such as orders for /orders/{id}.',
        },
      ]
    const calls = typeof planned === 'string' ? {} : { create: planned.create, remove: planned.remove }
    return Object.entries(calls).flatMap(([step, operation]) =>
      operation === undefined || targets.some((target) => target.name === operation)
        ? []
        : [
            {
              field: `${field}.${step}`,
              problem: `is ${quote(operation)}, which is not an operation of the document that can be called`,
              fix: 'Write method and path as the document has them, such as POST /orders.',
            },
          ],
    )
  })
}

/** @returns the path, and what of A's is in it. Parameters that are no object are filled with samples. */
export function fill(target: Pick<Target, 'path' | 'parameters' | 'query'>, objects: KnownObjects) {
  const owned: string[] = []
  let path = target.path
  for (const { name, segment, sample } of target.parameters) {
    const object = objects.get(name) ?? objects.get(segment)
    if (object) owned.push(object.value)
    path = path.replaceAll(`{${name}}`, encodeURIComponent((object?.value ?? sample).toWellFormed()))
  }
  const query = new URLSearchParams(target.query.map(([key, text]) => [key, text])).toString()
  return { path: query === '' ? path : `${path}?${query}`, owned }
}

/** @returns what was left behind. */
export type Undo = () => Promise<Note[]>

type Asking = {
  wire: Wire
  targets: readonly Target[]
  /** A good token of A's. */
  token(scopes: readonly string[]): Promise<string>
}

/** In the order of the plan: one may be made below another. @param undo gets what takes each away again, also when this ends in an error. */
export async function makeObjects(
  plan: ObjectPlan,
  sub: string,
  asking: Asking,
  undo: Undo[],
): Promise<{ objects: KnownObjects; notes: Note[] }> {
  const objects = new Map<string, { value: string; given: boolean }>()
  const notes: Note[] = []
  for (const [named, planned] of Object.entries(plan)) {
    if (typeof planned === 'string') {
      objects.set(named, { value: planned.replaceAll('{sub}', sub), given: !planned.includes('{sub}') })
      continue
    }
    const body = planned.body === undefined ? undefined : JSON.stringify(planned.body)
    const answer = await callAs(planned.create, objects, asking, { body })
    const id = isSuccess(answer) ? idIn(answer, planned.id) : undefined
    if (id === undefined) {
      const said = answer.failed ?? `${answer.status}, and no id`
      notes.push({ operation: planned.create, note: `A could not make an object ${named} (${said}).` })
      continue
    }
    objects.set(named, { value: id, given: false })
    const { remove } = planned
    const known = new Map(objects)
    if (remove !== undefined)
      undo.unshift(async () => {
        const { status, failed } = await callAs(remove, known, asking, { evenStopped: true })
        // 404: somebody else removed it, which is a finding of its own.
        if ((status >= 200 && status < 300) || status === 404 || status === 410) return []
        return [{ operation: remove, note: `The object ${id} of A's is still there (${failed ?? status}).` }]
      })
  }
  return { objects, notes }
}

async function callAs(
  operation: string,
  objects: KnownObjects,
  { wire, targets, token }: Asking,
  more: { body?: string | undefined; evenStopped?: boolean },
) {
  const target = targets.find((one) => one.name === operation)
  if (!target) throw new Error(`${operation} was not checked`)
  const authorization = ['Authorization', `Bearer ${await token(target.scopes)}`] as const
  const { path } = fill(target, objects)
  const headers = [...target.headers, authorization]
  return wire.call({ method: target.method, path, headers, ...more, body: more.body ?? target.body })
}

/** @param at names in the answer, with dots between them. Without it: `id`, else the end of Location (RFC 9110 10.2.2). */
function idIn(
  { body, location }: { body: string; location: string | undefined },
  at: string | undefined,
): string | undefined {
  const found = (at ?? 'id')
    .split('.')
    .reduce<unknown>(
      (inside, part) =>
        typeof inside === 'object' && inside !== null && Object.hasOwn(inside, part)
          ? (inside as Record<string, unknown>)[part]
          : undefined,
      parse(body),
    )
  if (typeof found === 'string' || typeof found === 'number') return asId(String(found))
  return at === undefined ? asId(decode(location?.split(/[?#]/)[0]?.split('/').at(-1))) : undefined
}

/** What the API says goes into paths: a dot or two would lead to other ones. */
function asId(text: string | undefined): string | undefined {
  if (text === undefined || text === '' || text.length > 200 || /^\.{1,2}$/.test(text)) return undefined
  return text
}

function decode(text: string | undefined): string | undefined {
  try {
    return text === undefined ? undefined : decodeURIComponent(text)
  } catch (error) {
    if (error instanceof URIError) return undefined
    throw error
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
