// What a restart does not load (docs/decisions/016): a process is up sooner and smaller without what nobody has asked it for yet.
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { freePort, killAll, runNode } from '#test/support/processes.ts'

let db: TestDatabase
let folder: string
beforeAll(async () => {
  db = await createTestDatabase()
  folder = fs.mkdtempSync(join(tmpdir(), 'sallyport-restart-'))
})
afterEach(killAll)
afterAll(async () => {
  fs.rmSync(folder, { recursive: true, force: true })
  await db.drop()
})

const later = {
  'the console': '/src/admin/console/',
  'the admin API': '/src/admin/api/router.ts',
  'Prisma’s query compiler': '/query_compiler',
  WebAuthn: '/@simplewebauthn/',
  mail: '/nodemailer/',
  Cedar: '/@cedar-policy/',
  'the embedded PostgreSQL': '/src/db/embedded-postgres',
}

test('a restart that finds everything loads none of these, and answers; the first page of an operator loads its own', async () => {
  const port = String(await freePort())
  const origin = `http://localhost:${port}`
  const list = join(folder, 'loaded')
  const watch = join(folder, 'watch.mjs')
  fs.writeFileSync(
    watch,
    `import { appendFileSync } from 'node:fs'
    import { registerHooks } from 'node:module'
    registerHooks({
      load(url, context, next) {
        appendFileSync(${JSON.stringify(list)}, url + '\\n')
        return next(url, context)
      },
    })`,
  )
  const start = async () => {
    fs.writeFileSync(list, '')
    const running = runNode(['--import', pathToFileURL(watch).href, 'src/sallyport.mjs', 'start'], {
      env: {
        NODE_ENV: 'production', // the demo looks after its own at every start
        DATABASE_URL: db.url,
        SECRET_KEY: secretKey,
        PORT: port,
        ISSUER_URL: origin,
        ADMIN_EMAIL: 'owner@example.com',
        ADMIN_PASSWORD: 'a long enough phrase to sign in with',
      },
    })
    await running.prints('"event":"server.started"')
    return running
  }
  const secretKey = randomBytes(32).toString('base64url')
  const loaded = () => {
    const urls = fs.readFileSync(list, 'utf8')
    return Object.keys(later).filter((what) => urls.includes(later[what as keyof typeof later]))
  }
  const first = await start()
  first.child.kill('SIGTERM')
  expect(await first.ended()).toEqual({ code: 0, signal: null })
  await start()
  for (const path of ['/.well-known/openid-configuration', '/oauth/jwks', '/readyz'])
    expect((await fetch(origin + path)).status).toBe(200)
  expect(fs.readFileSync(list, 'utf8')).toContain('/src/serving.ts')
  expect(loaded()).toEqual([])
  expect((await fetch(`${origin}/api/openapi.json`)).status).toBe(200)
  expect(loaded()).toEqual(['the console', 'the admin API'])
})
