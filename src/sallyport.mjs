#!/usr/bin/env node
// The way in for `npm start` and the command line. Plain JavaScript of long ago on purpose: an old Node must be able to
// parse this file, or the person would see a syntax error in place of the sentence below.
const [major] = process.versions.node.split('.').map(Number)
if (major < 24) {
  process.stderr.write(
    `Sallyport needs Node.js 24 or newer; this is ${process.version}. Run \`npm ci\` (without --ignore-scripts): it installs a matching Node.js inside this folder.\n`,
  )
  process.exit(2)
}
await keepCompiled()
const { main } = await import('./cli/program.ts')
await main(process.argv)

/** What Node made of our files is kept from one start to the next, beside the files: whoever may write there may change the program
 *  anyway (docs/decisions/016). Nobody else may, whatever the umask says. */
async function keepCompiled() {
  const { enableCompileCache } = await import('node:module')
  const { mkdirSync } = await import('node:fs')
  const { fileURLToPath } = await import('node:url')
  const folder = fileURLToPath(new URL('../node_modules/.cache/sallyport', import.meta.url))
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    enableCompileCache(folder)
  } catch {
    // A file system that is read-only, or not ours: each start does the work again.
  }
}
