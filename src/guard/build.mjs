// `npm run build:guard`: the guard as JavaScript and types, in a folder that `npm pack` and `npm publish` take as it is. The server is not
// in it, and of its dependencies only jose.
import { execFileSync } from 'node:child_process'
import { copyFileSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../..')
const folder = resolve(process.argv[2] ?? join(root, 'dist/guard'))
const server = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

rmSync(folder, { recursive: true, force: true })
const compiler = join(root, 'node_modules/typescript/bin/tsc')
const project = join(import.meta.dirname, 'tsconfig.build.json')
execFileSync(process.execPath, [compiler, '-p', project, '--outDir', folder], { stdio: 'inherit' })

// tsc rewrites the imports of what runs and leaves those of declarations: it finds them, other readers of declarations do not.
for (const file of globSync(join(folder, '*.d.ts'))) {
  const text = readFileSync(file, 'utf8')
  writeFileSync(file, text.replaceAll(/(from '\.\/[\w-]+)\.ts'/g, "$1.js'"))
}

const entries = Object.entries(server.exports).map(([name, source]) => {
  const path = source.replace('./src/guard/', './').replace(/\.ts$/, '')
  return [name, { types: `${path}.d.ts`, default: `${path}.js` }]
})
const manifest = {
  name: server.name,
  version: server.version,
  description: 'What an API puts in front of its handlers: who are you, and may you do this?',
  license: server.license,
  type: 'module',
  exports: Object.fromEntries(entries),
  files: ['*.js', '*.d.ts'],
  sideEffects: false,
  engines: { node: '>=22' },
  dependencies: { jose: `^${server.dependencies.jose}` },
}
writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'))
copyFileSync(join(root, 'docs/guard.md'), join(folder, 'README.md'))
