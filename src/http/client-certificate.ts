// The client certificate of a TLS connection that ended at a proxy (RFC 8705, RFC 9440). It is read from the one header that CLIENT_CERTIFICATE_HEADER
// names, and only from a listed proxy: a certificate is no secret, so whoever could write that header could be anybody. What cannot be read, or came
// twice, is none.
import { X509Certificate } from 'node:crypto'
import type { Context } from 'koa'
import { headerValues } from './credentials.ts'
import { clientCertificateHeaderOf } from './host.ts'

export function clientCertificateOf(ctx: Context): X509Certificate | undefined {
  const header = clientCertificateHeaderOf(ctx)
  const [value, ...more] = header === undefined ? [] : headerValues(ctx, header)
  return value === undefined || more.length > 0 ? undefined : readCertificate(value)
}

const base64 = /^[A-Za-z0-9+/]+={0,2}$/

/** DER as a byte sequence (RFC 9440 2.2, `:…:`) or in base64 (Caddy, Traefik), or PEM with percent-encoding (nginx).
 *  @returns undefined for anything but one certificate, to the byte. */
export function readCertificate(value: string): X509Certificate | undefined {
  const text = decode(value)
  if (text === undefined) return undefined
  const pem = /^-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)\s+-----END CERTIFICATE-----\s*$/.exec(text)?.[1]
  const encoded = pem?.replace(/\s/g, '') ?? /^:(.*):$/.exec(text)?.[1] ?? text
  if (!base64.test(encoded)) return undefined
  const der = Buffer.from(encoded, 'base64')
  try {
    const certificate = new X509Certificate(der)
    return certificate.raw.equals(der) ? certificate : undefined
  } catch (error) {
    if (error instanceof Error && 'code' in error && /^ERR_OSSL/.test(String(error.code))) return undefined
    throw error
  }
}

function decode(value: string): string | undefined {
  try {
    return decodeURIComponent(value)
  } catch (error) {
    if (error instanceof URIError) return undefined
    throw error
  }
}
