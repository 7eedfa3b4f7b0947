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
// What Node made of our files is kept from one start to the next, beside the files it was made of: whoever may write there may
// change the program anyway. Where nothing can be kept, each start does the work again (docs/decisions/016).
const { enableCompileCache } = await import('node:module')
const { fileURLToPath } = await import('node:url')
enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/sallyport', import.meta.url)))

const { main } = await import('./cli/program.ts')
await main(process.argv)
