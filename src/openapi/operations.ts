// The operations of a document, each with the path item that it stands in.
import type { Flaw } from '#src/refusal.ts'
import { isObject, type JsonObject, type OpenapiDocument, own, resolve } from './document.ts'

/** @param method upper case. @param path the template, as the document has it. @param label how messages call it. */
export type Operation = Readonly<{
  method: string
  path: string
  label: string
  operation: JsonObject
  item: JsonObject
}>

const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace']
const besides = ['summary', 'description', 'servers', 'parameters']

/** In the order of the document. Callbacks and webhooks are requests to somebody else, and no part of it. */
export function operationsOf(document: OpenapiDocument): { operations: Operation[]; flaws: Flaw[] } {
  const flaws: Flaw[] = []
  const operations: Operation[] = []
  for (const [path, written] of Object.entries(own(document.root, 'paths') as JsonObject)) {
    if (path.startsWith('x-')) continue
    const refuse = (field: string, problem: string, fix: string) =>
      flaws.push({ field: `${document.place}, ${path}${field}`, problem, fix })
    const found = resolve(document, written)
    if ('problem' in found) {
      refuse('', found.problem, found.fix)
      continue
    }
    const item = found.value
    if (isObject(written) && Object.hasOwn(written, '$ref') && Object.keys(written).length > 1)
      refuse(': $ref', 'stands beside something else', 'What both would mean is not defined: keep one of the two.')
    for (const [name, operation] of Object.entries(item)) {
      const label = `${document.place}, ${name.toUpperCase()} ${path}`
      if (methods.includes(name)) {
        if (isObject(operation)) operations.push({ method: name.toUpperCase(), path, label, operation, item })
        else refuse(`: ${name}`, 'is not an operation', 'Write name: value pairs.')
      } else if (name.startsWith('x-sallyport-'))
        refuse(`: ${name}`, 'stands beside operations', 'Write it in each of them.')
      else if (!besides.includes(name) && !name.startsWith('x-'))
        refuse(`: ${name}`, 'is not known here', `Methods are written in lower case: ${methods.join(', ')}.`)
    }
  }
  return { operations, flaws }
}
