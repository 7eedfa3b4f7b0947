import { defineConfig } from 'vitest/config'

const inFolders = (...names: string[]) => names.map((name) => `test/${name}/**/*.test.ts`)
const journeys = inFolders('account', 'flows', 'conformance', 'hostile', 'examples', 'pages')
const contract = inFolders('contract')
const processes = inFolders('process', 'deploy', 'cli', 'chaos')

// Every test file is in exactly one project: `rooms` has whatever the others have not. The order is from cheap to dear.
export default defineConfig({
  test: {
    globalSetup: 'test/support/global-setup.ts',
    projects: [
      // one room's functions on a real database, the architecture, the documents
      project('rooms', {
        include: ['test/**/*.test.ts'],
        exclude: [...journeys, ...contract, ...processes],
        order: 0,
        workers: 2,
        timeout: 30_000,
      }),
      // the storage adapter, on the oldest and on the newest PostgreSQL
      project('contract', { include: contract, order: 1, workers: 2, timeout: 60_000 }),
      // journeys over real HTTP, many of them in a browser
      project('flows', { include: journeys, order: 2, workers: 2, timeout: 60_000 }),
      // whole servers that are started, stopped and killed: one at a time
      project('process', { include: processes, order: 3, workers: 1, timeout: 120_000 }),
    ],
  },
})

function project(
  name: string,
  options: { include: string[]; exclude?: string[]; order: number; workers: number; timeout: number },
) {
  return {
    test: {
      name,
      include: options.include,
      exclude: ['**/node_modules/**', ...(options.exclude ?? [])],
      pool: 'forks' as const,
      maxWorkers: options.workers,
      fileParallelism: options.workers > 1,
      sequence: { groupOrder: options.order },
      testTimeout: options.timeout,
      hookTimeout: 2 * options.timeout,
      expect: { poll: { timeout: 10_000 } },
    },
  }
}
