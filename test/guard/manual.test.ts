// docs/guard.md promises ten minutes for each framework: its programs are run as they stand there.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { startProgram } from '../examples/program.ts'
import { ask } from './apps.ts'
import { audience, startIssuer } from './issuer.ts'

const issuer = await startIssuer()
// Inside of the repository, where `sallyport/guard` and the frameworks are found by their names.
mkdirSync('.data', { recursive: true })
const folder = mkdtempSync('.data/manual-')
afterAll(async () => {
  rmSync(folder, { recursive: true })
  await issuer.stop()
})

/** What the manual leaves to its reader. */
const before = `
  import * as http from 'node:http'
  import { createGuard } from 'sallyport/guard'
  const guard = createGuard({ issuer: process.env.ISSUER_URL, audience: '${audience}' })
  await guard.ready()
  const findOrder = async (id) => (id === '88' ? { id, ownerId: 'alice' } : undefined)
  const ordersOf = async (id) => [{ id: '88', ownerId: id }]
  const say = (server) => server.listen(0, 'localhost', () => console.log('manual on http://localhost:' + server.address().port))
`
const after: Record<string, string> = {
  Koa: 'say(http.createServer(app.callback()))',
  Express: 'say(http.createServer(app))',
  Hono: `say(http.createServer(async (request, response) => {
    const answer = await app.request(request.url, { headers: request.headers })
    response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text())
  }))`,
  'Plain node:http': '',
}

const manual = readFileSync('docs/guard.md', 'utf8')
let tokens: string[]
beforeAll(async () => {
  tokens = await Promise.all([issuer.sign(), issuer.sign({ sub: 'bob' }), issuer.sign({ scope: 'other' })])
})

it.each(Object.keys(after))('%s', { timeout: 30_000 }, async (name) => {
  const section = manual.split(`\n## ${name}\n`)[1] ?? ''
  const block = /```js\n(.*?)```/s.exec(section)?.[1] ?? ''
  const file = join(folder, `${name.replace(/\W/g, '-')}.mjs`)
  const program = block.replace(/^createServer\((.*)\)\.listen\(4001\)$/ms, 'say(http.createServer($1))')
  writeFileSync(file, [before, program, after[name]].join('\n'))
  const running = await startProgram(file, { ISSUER_URL: issuer.url })
  try {
    const statuses = []
    for (const token of [undefined, 'bad', ...tokens])
      statuses.push(
        (
          await ask(`${running.url}/orders/88`, {
            headers: token === undefined ? [] : [['authorization', `Bearer ${token}`]],
          })
        ).status,
      )
    // The last program has no objects, only a list of one's own.
    expect(statuses).toEqual([401, 401, 200, name === 'Plain node:http' ? 200 : 403, 403])
  } finally {
    await running.stop()
  }
})
