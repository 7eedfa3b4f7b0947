// Which certificate a request is believed to have come with: from a listed proxy, in the one header that the operator named, in a form that leaves no
// doubt (RFC 8705, RFC 9440).
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import Koa from 'koa'
import { afterEach, describe, expect, test } from 'vitest'
import { clientCertificateOf, readCertificate } from '#src/http/client-certificate.ts'
import { hostRule } from '#src/http/host.ts'
import { makeCertificate } from '#test/support/tls.ts'

const { cert } = makeCertificate()
const pem = cert.toString()
const der = new X509Certificate(pem).raw
const base64 = der.toString('base64')
const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

/** @returns the fingerprint that was believed, or ''. */
async function believed(headers: string[], { listed = true, named = 'client-cert' as string | null } = {}) {
  const app = new Koa()
  app.proxy = true
  const trustProxy = listed ? ['127.0.0.1'] : []
  app.use(hostRule({ issuerUrl: 'http://id.example', trustProxy, clientCertificateHeader: named ?? undefined }))
  app.use((ctx) => {
    ctx.body = `found ${clientCertificateOf(ctx)?.fingerprint256 ?? ''}`
  })
  const server = createServer(app.callback()).listen(0, '127.0.0.1')
  servers.push(server)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const outgoing = request({ host: '127.0.0.1', port, headers: ['Host', 'id.example', ...headers] as never }).end()
  const [response] = await once(outgoing, 'response')
  return (await text(response)).replace('found ', '')
}
const mine = new X509Certificate(pem).fingerprint256

describe('is read', () => {
  test.each([
    ['as a byte sequence (RFC 9440 2.2)', `:${base64}:`],
    ['as base64 of DER (Caddy, Traefik)', base64],
    ['as that with percent-encoding', encodeURIComponent(base64)],
    ['as PEM with percent-encoding (nginx)', encodeURIComponent(pem)],
  ])('%s', async (_name, value) => {
    expect(readCertificate(value)?.fingerprint256).toBe(mine)
    expect(await believed(['Client-Cert', value])).toBe(mine)
    expect(await believed(['CLIENT-CERT', value])).toBe(mine)
  })
})

describe('is none', () => {
  test.each([
    ['from a peer that is not listed', { listed: false }],
    ['where no header was named', { named: null }],
    ['in another header than the one that was named', { named: 'x-client-cert' }],
  ])('%s', async (_name, options) => {
    for (const name of [
      'Client-Cert',
      'X-SSL-Client-Cert',
      'X-Forwarded-Tls-Client-Cert',
      'X_Client_Cert',
      'Client_Cert',
    ])
      expect(await believed([name, `:${base64}:`], options)).toBe('')
  })

  test('when it came twice', async () => {
    expect(await believed(['Client-Cert', `:${base64}:`, 'Client-Cert', `:${base64}:`])).toBe('')
  })

  const garbage = Buffer.from('no certificate').toString('base64')
  test.each([
    ['nothing', ''],
    ['an empty byte sequence', '::'],
    ['garbage', 'garbage'],
    ['base64 of something else', garbage],
    ['a byte sequence of something else', `:${garbage}:`],
    ['a certificate that was cut', `:${base64.slice(0, 400)}:`],
    ['one with more behind it', `:${Buffer.concat([der, Buffer.from('more')]).toString('base64')}:`],
    ['two of them', `:${Buffer.concat([der, der]).toString('base64')}:`],
    ['a list', `:${base64}:, :${base64}:`],
    ['a chain in PEM', encodeURIComponent(pem + pem)],
    ['a key in PEM', encodeURIComponent(pem.replaceAll('CERTIFICATE', 'PRIVATE KEY'))],
    ['an escape that is none', `%zz${base64}`],
    ['base64url', `:${der.toString('base64url')}-_:`],
    ['parameters', `:${base64}:;a=b`],
    ['half a byte sequence', `:${base64}`],
  ])('when it is %s', async (_name, value) => {
    expect(readCertificate(value)).toBeUndefined()
    expect(await believed(['Client-Cert', value])).toBe('')
  })
})
