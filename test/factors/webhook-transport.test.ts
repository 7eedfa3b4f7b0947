// What leaves for the operator's program, against a real server: signed, in time, and to no other address.
import { createHmac, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { NotSent, type OutOfBandMessage } from '#src/factors/out-of-band.ts'
import { createWebhookTransport } from '#src/factors/webhook-transport.ts'
import { isSigned, type Receiver, startReceiver } from '#test/support/receiver.ts'

let receiver: Receiver
beforeAll(async () => {
  receiver = await startReceiver()
})
afterAll(() => receiver.stop())
beforeEach(() => {
  receiver.answer = undefined
  receiver.arrived.length = 0
  receiver.requests = 0
})

const now = () => new Date('2026-11-26T12:00:00.400Z')
const message: OutOfBandMessage = {
  id: '0d4a4f0e-6a43-4e8c-9f0e-3f6e2b6e6a11',
  channel: 'sms',
  to: '+447700900112',
  code: '12345678',
  locale: 'de',
  expiresAt: new Date('2026-11-26T12:10:00.000Z'),
  purpose: 'sign_in',
}
const transport = (secrets = [receiver.secret], milliseconds = 5_000) =>
  createWebhookTransport({ url: receiver.url, secrets }, { now, milliseconds })
const failure = async (sending: Promise<void>) => {
  const error = await sending.then(
    () => undefined,
    (reason) => reason,
  )
  expect(error).toBeInstanceOf(NotSent)
  return [(error as NotSent).reason, (error as NotSent).mayHaveLeft]
}

test('a message arrives as JSON, signed as Standard Webhooks, with an id and a time', async () => {
  let headers: Record<string, unknown> = {}
  receiver.answer = (request, response) => {
    headers = request.headers
    response.writeHead(200).end('a body that nobody reads')
  }
  await transport().send(message)
  expect(receiver.arrived).toEqual([
    {
      type: 'factor.sms',
      timestamp: '2026-11-26T12:00:00.400Z',
      data: { ...message, expiresAt: '2026-11-26T12:10:00.000Z' },
    },
  ])
  expect(headers).toMatchObject({
    'content-type': 'application/json',
    'webhook-id': message.id,
    'webhook-timestamp': String(Date.UTC(2026, 10, 26, 12) / 1000),
  })
  expect(headers['webhook-signature']).toMatch(/^v1,[A-Za-z0-9+/]{43}=$/)
})

test('while a secret is replaced each of both signs; a stranger’s signature is none', async () => {
  const old = randomBytes(32)
  const seen: boolean[] = []
  receiver.answer = (request, response) => {
    const body = JSON.stringify({ type: 'factor.sms', timestamp: now().toISOString(), data: message })
    for (const secret of [receiver.secret, old, randomBytes(32)]) seen.push(isSigned(request, body, secret))
    seen.push(isSigned(request, `${body} `, old))
    response.writeHead(204).end()
  }
  await transport([old, receiver.secret]).send(message)
  expect(seen).toEqual([true, true, false, false])
})

test('what is signed is id, second and body, with dots between (Standard Webhooks 1.0)', async () => {
  let signature: unknown
  receiver.answer = (request, response) => {
    signature = request.headers['webhook-signature']
    response.writeHead(204).end()
  }
  await transport().send(message)
  const body = JSON.stringify({ type: 'factor.sms', timestamp: now().toISOString(), data: message })
  const signed = createHmac('sha256', receiver.secret).update(`${message.id}.1795694400.${body}`)
  expect(signature).toBe(`v1,${signed.digest('base64')}`)
})

test.each([400, 404, 410, 429, 500, 503])('an answer of %i is a failure', async (status) => {
  receiver.answer = (_request, response) => response.writeHead(status).end('no')
  expect(await failure(transport().send(message))).toEqual([`status ${status}`, true])
})

test.each([301, 302, 303, 307, 308])(
  'a redirect (%i) is a failure, and nothing goes where it points',
  async (status) => {
    let visits = 0
    const elsewhere = createServer((_request, response) => {
      visits++
      response.writeHead(204).end()
    })
    await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve))
    const Location = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/`
    receiver.answer = (_request, response) => response.writeHead(status, { Location }).end()
    expect(await failure(transport().send(message))).toEqual([`status ${status}`, true])
    expect([visits, receiver.requests]).toEqual([0, 1])
    await new Promise((resolve) => elsewhere.close(resolve))
  },
)

test('a program that does not answer is left; what it may have done counts', async () => {
  receiver.answer = () => undefined
  expect(await failure(transport([receiver.secret], 50).send(message))).toEqual(['timeout', true])
})

test('a connection that breaks off may have done something; one that never stood has not', async () => {
  receiver.answer = (request) => request.socket.destroy()
  expect(await failure(transport().send(message))).toEqual([expect.stringMatching(/^UND_ERR_SOCKET|ECONNRESET$/), true])
  const gone = await startReceiver()
  await gone.stop()
  const nowhere = createWebhookTransport({ url: gone.url, secrets: [gone.secret] }, { now })
  expect(await failure(nowhere.send(message))).toEqual(['ECONNREFUSED', false])
})

test('the failure says nothing of the number, the code or the address', async () => {
  receiver.answer = (_request, response) => response.writeHead(500).end(`${message.to} ${message.code}`)
  const error = await transport()
    .send(message)
    .catch((reason) => reason)
  const said = `${error.message} ${JSON.stringify(error)} ${error.stack}`
  for (const secret of [message.to, message.code, receiver.url]) expect(said).not.toContain(secret)
})
