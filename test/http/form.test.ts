// A hosted form takes one content type, one size, one value a field; everything else is a 4xx that names the field.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Hosted, pendingInteraction, startHosted } from '#test/pages/hosted.ts'

let hosted: Hosted
beforeAll(async () => {
  hosted = await startHosted()
  hosted.pending = pendingInteraction()
})
afterAll(() => hosted.stop())

const form = 'application/x-www-form-urlencoded'
async function post(body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) {
  const response = await fetch(`${hosted.origin}/interaction/${hosted.pending?.uid}/login`, {
    method: 'POST',
    body,
    headers: { 'Content-Type': form, Accept: 'application/json', ...headers },
  })
  return {
    status: response.status,
    description: ((await response.json()) as { error_description: string }).error_description,
  }
}

it.each([
  ['identifier=a&identifier=b', 'The field identifier is repeated.'],
  ['csrf=1&password=a&password=b', 'The field password is repeated.'],
  ['identifier=a%00', 'The field identifier contains a control character.'],
  ['identifier=%ff', 'The field identifier is not valid percent-encoded UTF-8.'],
  ['identifier=%', 'The field identifier is not valid percent-encoded UTF-8.'],
  ['ident%00ifier=a', 'The field ident?ifier contains a control character.'],
])('refuses %s', async (body, description) => {
  expect(await post(body)).toEqual({ status: 400, description })
})

it('refuses bytes that are not UTF-8', async () => {
  expect(await post(Uint8Array.from([0x61, 0x3d, 0xff]))).toMatchObject({ status: 400 })
})

it.each(['text/plain', 'application/json', 'multipart/form-data; boundary=x', 'application/x-www-form-urlencodedx'])(
  'refuses %s with 415',
  async (type) => {
    expect((await post('csrf=1', { 'Content-Type': type })).status).toBe(415)
  },
)

it('refuses a compressed form with 415', async () => {
  expect((await post('csrf=1', { 'Content-Encoding': 'gzip' })).status).toBe(415)
})

it('refuses more than 64 KiB with 413 and stays ready for the next request, with and without a declared length', async () => {
  const large = `identifier=${'a'.repeat(64 * 1024)}`
  expect((await post(large)).status).toBe(413)
  let sent = 0
  const stream = new ReadableStream<Uint8Array>({
    pull(controller) {
      controller.enqueue(new Uint8Array(64 * 1024).fill(0x61))
      if (++sent === 64) controller.close()
    },
  })
  const init = { method: 'POST', body: stream, duplex: 'half', headers: { 'Content-Type': form, Accept: 'text/html' } }
  const response = await fetch(`${hosted.origin}/interaction/${hosted.pending?.uid}/login`, init as RequestInit)
  expect(response.status).toBe(413)
  await response.body?.cancel()
  expect((await post('identifier=a')).status).toBe(403) // no CSRF token: the form itself was read
})
