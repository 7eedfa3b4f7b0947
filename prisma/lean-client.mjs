// What `prisma generate` wrote is made smaller to hold and quicker to start, with the same answers (docs/decisions/016):
// - Its query compiler is WebAssembly that comes as base64 in a module: text that every process would parse and keep twice. It becomes a file.
// - Its table of which value in a query is a parameter is made of objects whose keys are positions in a list of names. V8 keeps such an
//   object as an array up to its largest key, nine kilobytes for a handful of entries, a thousand times over. Past a gap of 1024 it takes
//   a hash table instead; so the names move up by as many places.
// Anything here that is not as expected ends the generation: after a new version of Prisma, look again.
import { readFileSync, writeFileSync } from 'node:fs'

/** V8's limit (kMaxGap in its JSObject). */
const places = 1024
const wasmFile = 'query_compiler.wasm'

/** @param folder of the generated client. */
export async function makeLean(folder) {
  const file = new URL('internal/class.ts', folder)
  const { wasm } = await import('@prisma/client/runtime/query_compiler_small_bg.postgresql.wasm-base64.mjs')
  writeFileSync(new URL(`internal/${wasmFile}`, folder), Buffer.from(wasm, 'base64'))
  const text = replaced(
    readFileSync(file, 'utf8'),
    /const \{ wasm \} = await import\("@prisma\/client\/runtime\/query_compiler_small_bg\.postgresql\.wasm-base64\.mjs"\)\s+return await decodeBase64AsWasm\(wasm\)/,
    () => `const { readFile } = await import('node:fs/promises')
    return new WebAssembly.Module(await readFile(new URL('./${wasmFile}', import.meta.url)))`,
  )
  const lean = replaced(text, /strings: JSON\.parse\((".*")\),\n {2}graph: "(.*)"/, (_, json, graph) => {
    const moved = moveNames({ strings: JSON.parse(JSON.parse(json)), graph })
    return `strings: JSON.parse(${JSON.stringify(JSON.stringify(moved.strings))}),\n  graph: "${moved.graph}"`
  })
  writeFileSync(file, lean)
}

/** @param schema `strings`: the names. `graph`: three counts, then the edges of so many input nodes, of so many output nodes, and the
 *  roots; numbers are LEB128, and one that may be missing is raised by one. @returns the same with the names further up. */
function moveNames({ strings, graph }) {
  const bytes = Buffer.from(graph, 'base64url')
  const moved = []
  let at = 0
  const take = () => {
    let value = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++]
      value |= (byte & 127) << shift
      if (byte < 128) return value
    }
  }
  const put = (value) => {
    let rest = value
    for (; rest >= 128; rest >>>= 7) moved.push((rest & 127) | 128)
    moved.push(rest)
    return value
  }
  const keep = () => put(take())
  const keepBytes = (count) => {
    for (let n = 0; n < count; n++) moved.push(bytes[at++])
  }
  const name = () => put(take() + places)
  const optionalName = () => {
    const raised = take()
    put(raised === 0 ? 0 : raised + places)
  }
  const counts = { inputs: keep(), outputs: keep(), roots: keep() }
  for (let node = 0; node < counts.inputs; node++)
    for (let edges = keep(); edges > 0; edges--) {
      name()
      keepBytes(2) // the mask of scalar types
      keep() // the node it leads to
      optionalName() // of an enum
      keepBytes(1) // flags
    }
  for (let node = 0; node < counts.outputs; node++)
    for (let edges = keep(); edges > 0; edges--) {
      name()
      keep() // the node of its arguments
      keep() // the node it leads to
    }
  for (let root = 0; root < counts.roots; root++) {
    name()
    keep()
    keep()
  }
  if (at !== bytes.length)
    throw new Error(`the graph of parameters is in another form: ${bytes.length - at} bytes left`)
  return { strings: [...Array(places).fill(''), ...strings], graph: Buffer.from(moved).toString('base64url') }
}

function replaced(text, pattern, by) {
  if (!pattern.test(text)) throw new Error(`the generated client is in another form: no ${pattern}`)
  return text.replace(pattern, by)
}
