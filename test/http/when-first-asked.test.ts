import type { Context } from 'koa'
import { expect, test } from 'vitest'
import { whenFirstAsked } from '#src/http/when-first-asked.ts'

/** @param failures how many times it cannot be loaded before it can. */
function partOf(failures = 0) {
  let loads = 0
  const middleware = whenFirstAsked(/^\/part(\/|$)/, async () => {
    if (++loads <= failures) throw new Error('cannot be read')
    return (ctx) => `part ${ctx.path}`
  })
  return { get: async (path: string) => middleware({ path } as Context, async () => 'the rest'), loads: () => loads }
}

test('it is loaded by the first request for it, once for any number at the same time, and by no other', async () => {
  const { get, loads } = partOf()
  for (const path of ['/', '/party', '/other/part']) expect(await get(path)).toBe('the rest')
  expect(loads()).toBe(0)
  const answers = ['/part', '/part/', '/part/a']
  expect(await Promise.all(answers.map(get))).toEqual(answers.map((path) => `part ${path}`))
  expect(await get('/part')).toBe('part /part')
  expect(loads()).toBe(1)
})

test('what could not be loaded is tried again with the next request', async () => {
  const { get, loads } = partOf(1)
  const first = await Promise.allSettled(['/part/a', '/part/b'].map(get))
  expect(first.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  expect(await get('/part/c')).toBe('part /part/c')
  expect(loads()).toBe(2)
})
