// /healthz: the process is alive; it touches nothing else, so that a database that is away never gets processes restarted.
// /readyz: send me traffic. Names the check that failed and nothing more: this page is open to everybody.
import Router from '@koa/router'
import type { Database } from '#src/db/database.ts'

const answerWithinMs = 1_000

/** @param pendingMigrations names that the schema still lacks.
 *  @param hasCurrentKey whether tokens can be signed. */
export function createHealthRouter(deps: {
  database: Pick<Database, 'pool'>
  isDraining: () => boolean
  pendingMigrations: () => Promise<readonly string[]>
  hasCurrentKey: () => boolean | Promise<boolean>
}): Router {
  const checks: [name: string, passes: () => boolean | Promise<boolean>][] = [
    ['draining', () => !deps.isDraining()],
    ['database', async () => (await deps.database.pool.query('SELECT 1')).rowCount === 1],
    ['migrations', async () => (await deps.pendingMigrations()).length === 0],
    ['signing_key', () => deps.hasCurrentKey()],
  ]
  const router = new Router()

  router.get('/healthz', (ctx) => {
    ctx.set('Cache-Control', 'no-store')
    ctx.body = { status: 'ok' }
  })

  router.get('/readyz', async (ctx) => {
    ctx.set('Cache-Control', 'no-store')
    const failed = await firstFailure(checks)
    if (failed) {
      ctx.status = 503
      ctx.set('Retry-After', '1')
      ctx.body = { status: 'not_ready', failed }
    } else ctx.body = { status: 'ready' }
  })

  return router
}

/** In order, because each check needs the one before it; all of them share one deadline. */
async function firstFailure(
  checks: readonly [name: string, passes: () => boolean | Promise<boolean>][],
): Promise<string | undefined> {
  const late = new Promise<false>((resolve) => setTimeout(resolve, answerWithinMs, false).unref())
  for (const [name, passes] of checks) {
    const passed = await Promise.race([
      late,
      Promise.resolve()
        .then(passes)
        .catch(() => false),
    ])
    if (!passed) return name
  }
  return undefined
}
