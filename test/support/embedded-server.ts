// A process that only runs the embedded PostgreSQL of a folder: `node embedded-server.ts DIRECTORY`. Prints its URL, or what
// went wrong; ends on SIGTERM. The tests start it, kill it, and start it again.
import { startEmbeddedPostgres } from '#src/db/embedded-postgres.ts'
import { createLog } from '#src/log.ts'

const [, , dataDir = ''] = process.argv
try {
  const { url, stop } = await startEmbeddedPostgres({ dataDir, log: createLog({ logLevel: 'silent' }) })
  console.log(url)
  const alive = setInterval(() => undefined, 60_000)
  process.on('SIGTERM', async () => {
    await stop()
    clearInterval(alive)
  })
} catch (error) {
  console.log(error instanceof Error ? `${error.name}: ${error.message}` : error)
  process.exitCode = 1
}
