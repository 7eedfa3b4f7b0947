// Writes the typed client to src/db/generated after every install. The client and the schema checker are WebAssembly, but
// the Prisma command line still wants a native engine for commands that this one is not: naming any program satisfies it,
// so that an installation needs nothing beyond the npm registry.
import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { makeLean } from './lean-client.mjs'

const require = createRequire(import.meta.url)
let cli
try {
  cli = join(dirname(require.resolve('prisma/package.json')), 'build/index.js')
} catch {
  process.exit(0) // production installations (npm ci --omit=dev) copy the generated client from the build stage
}
const { status, stdout, stderr } = spawnSync(process.execPath, [cli, 'generate'], {
  cwd: join(import.meta.dirname, '..'),
  encoding: 'utf8',
  env: {
    ...process.env,
    PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
    CHECKPOINT_DISABLE: '1',
    PRISMA_HIDE_UPDATE_MESSAGE: '1',
  },
})
if (status !== 0) {
  process.stderr.write(`prisma generate failed:\n${stdout}${stderr}\n`)
  process.exit(1)
}
await makeLean(new URL('../src/db/generated/', import.meta.url))
