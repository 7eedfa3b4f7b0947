// TLS in front of a server, as a reverse proxy does it: the certificate is made for the test, the Host header passes through.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type TlsFront = { port: number; forwardTo(port: number): void; close(): Promise<void> }

/** For localhost, trusted by whoever is told `file` (NODE_EXTRA_CA_CERTS). */
export function makeCertificate(): { key: Buffer; cert: Buffer; file: string } {
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-tls-'))
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
  const [key, cert] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '1',
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=DNS:localhost',
      '-keyout',
      key,
      '-out',
      cert,
    ],
    { stdio: 'ignore' },
  )
  return { key: readFileSync(key), cert: readFileSync(cert), file: cert }
}

export async function startTlsFront(): Promise<TlsFront> {
  const { key, cert } = makeCertificate()
  let target = 0
  const server = createServer({ key, cert }, (incoming, outgoing) => {
    const headers = {
      ...incoming.headers,
      'x-forwarded-for': incoming.socket.remoteAddress ?? '',
      'x-forwarded-proto': 'https',
    }
    const passed = request(
      { host: 'localhost', port: target, path: incoming.url ?? '/', method: incoming.method ?? 'GET', headers },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(outgoing)
      },
    )
    passed.on('error', () => outgoing.destroy())
    incoming.pipe(passed)
  })
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    forwardTo(port) {
      target = port
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
