// What the pages of a sign-in ask of the database, counted on the wire: reads that belong together travel together.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'
import { type CountingProxy, startCountingProxy } from '../../bench/counting-proxy.ts'

let server: TestServer
let j: Journey
let proxy: CountingProxy
beforeAll(async () => {
  server = await startServer({
    databaseThrough: async (url) => {
      proxy = await startCountingProxy(url)
      return proxy.url
    },
  })
  j = await startJourney(server)
  await j.codeFor() // agreed once
})
afterAll(async () => {
  await server.stop()
  proxy.stop()
})

class Counted extends Person {
  readonly counts: number[] = []
  override async fetch(...request: Parameters<Person['fetch']>): Promise<Response> {
    const before = proxy.roundTrips()
    const response = await super.fetch(...request)
    this.counts.push(proxy.roundTrips() - before)
    return response
  }
}

/** For each request on the way to a code, the fewest of several: the poll for changed configuration meets some of them. */
async function countsOf(parameters: Record<string, string>, person?: Person): Promise<number[]> {
  const all: number[][] = []
  for (let n = 0; n < 8; n++) {
    const counted = new Counted(server.url)
    for (const [name, cookie] of person?.cookies ?? []) counted.cookies.set(name, cookie)
    await j.codeFor(parameters, counted)
    all.push(counted.counts)
  }
  return (all[0] ?? []).map((_, request) => Math.min(...all.map((counts) => counts[request] ?? 0)))
}

// Of the password's ten: the request, the guess before and after, the password, where the person stands, three for the mail about a
// browser that nobody knew, who is told, the commit.
test('signing in: the request, the way to the page, the page, the password, the code', async () => {
  expect(await countsOf({})).toEqual([1, 1, 1, 10, 3])
})

test('agreeing as well: the way to the page, the page, the answer, the code', async () => {
  expect(await countsOf({ prompt: 'consent' })).toEqual([1, 1, 1, 10, 3, 1, 1, 3, 5])
})

test('signed in: the code at once', async () => {
  const { person } = await j.codeFor()
  expect(await countsOf({}, person)).toEqual([4])
})
