// `npm run build:guard`: what it makes is packed, unpacked where nothing of this repository is, and used as a stranger would use it.
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'

const run = promisify(execFile)
const place = mkdtempSync(join(tmpdir(), 'sallyport-guard-'))
const consumer = join(place, 'consumer')
const installed = join(consumer, 'node_modules/sallyport')
const modules = resolve('node_modules')

beforeAll(async () => {
  const built = join(place, 'built')
  await run(process.execPath, ['src/guard/build.mjs', built])
  await run('npm', ['pack', '--pack-destination', place, '--cache', join(place, 'cache')], { cwd: built })
  mkdirSync(join(consumer, 'node_modules/@types'), { recursive: true })
  mkdirSync(installed)
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
  await run('tar', ['-xzf', join(place, `sallyport-${version}.tgz`), '-C', installed, '--strip-components=1'])
  // What `npm install` would fetch: its one dependency, and for the compiler the types of Node.
  for (const name of ['jose', '@types/node', 'undici-types'])
    symlinkSync(join(modules, name), join(consumer, 'node_modules', name))
  writeFileSync(join(consumer, 'package.json'), '{"type":"module"}')
}, 120_000)
afterAll(() => rmSync(place, { recursive: true, force: true }))

it('depends on jose and nothing else, and brings its licence and its manual', () => {
  const manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
  expect(manifest).toMatchObject({ name: 'sallyport', type: 'module' })
  expect(Object.keys(manifest.dependencies)).toEqual(['jose'])
  expect(manifest.scripts).toBeUndefined()
  expect(readFileSync(join(installed, 'LICENSE'), 'utf8')).toContain('Apache License')
  expect(readFileSync(join(installed, 'README.md'), 'utf8')).toContain('sallyport/guard')
})

it('runs from plain JavaScript: every entry, and a refusal over HTTP', { timeout: 180_000 }, async () => {
  writeFileSync(
    join(consumer, 'api.js'),
    `
    import { createServer } from 'node:http'
    import { createGuard, Refused } from 'sallyport/guard'
    import { koaGuard } from 'sallyport/guard/koa'
    import { expressGuard } from 'sallyport/guard/express'
    import { honoGuard } from 'sallyport/guard/fetch'
    import { protect } from 'sallyport/guard/node'
    const guard = createGuard({ issuer: 'https://login.example.com', audience: 'https://api.example.com/orders' })
    for (const make of [koaGuard, expressGuard, honoGuard]) make(guard).authorize({ scopes: ['orders:read'] })
    const server = createServer(protect(guard, () => { throw new Error('not reached') }))
    server.listen(0, async () => {
      const response = await fetch('http://localhost:' + server.address().port + '/orders')
      console.log(response.status, response.headers.get('www-authenticate'), Refused.name)
      server.close()
    })`,
  )
  const { stdout } = await run(process.execPath, ['api.js'], { cwd: consumer })
  expect(stdout).toBe('401 Bearer Refused\n')
})

it('is typed: what is right compiles, what is wrong does not', { timeout: 180_000 }, async () => {
  writeFileSync(
    join(consumer, 'api.ts'),
    `
    import { type Caller, createGuard, type Guard, type GuardOptions, Refused } from 'sallyport/guard'
    import { koaGuard } from 'sallyport/guard/koa'
    import { expressGuard } from 'sallyport/guard/express'
    import { honoGuard } from 'sallyport/guard/fetch'
    import { protect } from 'sallyport/guard/node'
    const options: GuardOptions = { issuer: 'https://login.example.com', audience: 'https://api.example.com/orders' }
    const guard: Guard = createGuard(options)
    export const listener = protect(guard, (_request, response, caller: Caller) => {
      guard.authorize(caller, { scopes: ['orders:read'], maxAge: 300 })
      const row = guard.requireOwner(caller, { owner: 'alice', total: 7 }, (order) => order.owner)
      response.end(String(row.total))
    })
    export const doors = [koaGuard(guard), expressGuard(guard), honoGuard(guard)]
    export const decision: Promise<boolean> = guard.can(undefined, 'orders:read', { type: 'order', id: '88' })
    export const status: number = new Refused(401, 'x', 'y').status
    // @ts-expect-error: a wish that is no list
    guard.authorize(undefined, { scopes: 'orders:read' })
    // @ts-expect-error: whose tokens?
    createGuard({ issuer: 'https://login.example.com' })
    `,
  )
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', 'node']
  const compiler = join(modules, 'typescript/bin/tsc')
  // Without skipLibCheck: the declarations themselves are judged as well.
  const { stdout } = await run(process.execPath, [compiler, ...options, 'api.ts'], { cwd: consumer }).catch(
    (error: { stdout: string }) => error,
  )
  expect(stdout).toBe('')
})
