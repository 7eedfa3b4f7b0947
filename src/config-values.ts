// What a value of the environment may look like, each kind with the words that say what is wrong and how to mend it. Which variable has
// which is in config.ts.
import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import { z } from 'zod'

/** `auth` travels over TLS only. */
export type SmtpServer = Readonly<{
  host: string
  port: number
  secure: boolean
  auth?: Readonly<{ user: string; pass: string }>
}>
export type SyslogServer = Readonly<{ host: string; port: number; tls: boolean }>
export type Mailbox = Readonly<{ name: string; address: string }>
/** Each secret signs. */
export type Webhook = Readonly<{ url: string; secrets: readonly Buffer[] }>

export const loopback = (hostname: string) =>
  hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)

export const issuerUrl = z.string().transform((value, context) => {
  const url = URL.parse(value)
  if (!url || !['http:', 'https:'].includes(url.protocol))
    return fail(context, 'must be an origin such as https://id.example.com')
  if (url.username || url.password) return fail(context, 'must not contain a user name or password')
  if (url.pathname !== '/' || url.search || url.hash || value.includes('?') || value.includes('#'))
    return fail(context, 'must be an origin: remove the path, query or fragment')
  return url.origin
})

export const port = (name: string) =>
  z
    .string()
    .regex(/^\d{1,5}$/, `${name} must be a whole number from 0 to 65535`)
    .transform(Number)
    .refine((n) => n <= 65535, 'must be at most 65535')

const maxWorkers = 64

export const workers = z.string().transform((value, context) => {
  if (value === 'auto') return Math.min(availableParallelism(), maxWorkers)
  const count = /^\d{1,2}$/.test(value) ? Number(value) : 0
  return count >= 1 && count <= maxWorkers
    ? count
    : fail(context, `must be auto or a whole number from 1 to ${maxWorkers}`)
})

export const secretKeys = z.string().transform((value, context) => {
  const keys = value.split(',').map((part) => part.trim())
  const decoded = keys.map((key) => (/^[A-Za-z0-9_-]{43}$/.test(key) ? Buffer.from(key, 'base64url') : undefined))
  if (decoded.some((key) => key?.length !== 32))
    return fail(
      context,
      'must be 32 random bytes in base64url (43 characters), several separated by commas; make one with: openssl rand -base64 32 | tr +/ -_ | tr -d =',
    )
  if (decoded.some((key) => key && new Set(key).size < 8))
    return fail(context, 'is not random: a repeated or trivial value protects nothing')
  return decoded as Buffer[]
})

/** Addresses and ranges. */
export const networks = z.string().transform((value, context) => {
  const entries = value
    .split(',')
    .map((entry) => entry.trim())
    .filter(Boolean)
  for (const entry of entries) {
    const [address = '', bits] = entry.split('/')
    const family = isIP(address)
    if (!family || (bits !== undefined && !(/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128))))
      return fail(context, `"${entry}" is neither an IP address nor a range such as 10.0.0.0/8`)
  }
  return entries
})

/** What a form, a database and a style sheet can hold. */
export const styleSheet = z
  .string()
  .max(16_384, 'must have at most 16384 characters')
  .refine(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    (text) => text.isWellFormed() && !/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/.test(text),
    'must be text without control characters',
  )

export const days = (min: number, max: number) => whole('days', min, max)
export const hours = (min: number, max: number) => whole('hours', min, max)

const whole = (what: string, min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,4}$/, `must be a whole number of ${what}`)
    .transform(Number)
    .refine((n) => n >= min && n <= max, `must be from ${min} to ${max}`)

export const perMinute = z
  .string()
  .regex(/^\d{1,9}$/, 'must be a whole number of requests a minute')
  .transform(Number)

export const smtpServer = z.string().transform((value, context): SmtpServer => {
  const url = URL.parse(value)
  if (!url?.hostname || !['smtp:', 'smtps:'].includes(url.protocol))
    return fail(context, 'must look like smtp://user:password@host:587 or smtps://user:password@host:465')
  if (!['', '/'].includes(url.pathname) || url.search || url.hash)
    return fail(context, 'must end after host and port: there are no options')
  if ((url.username === '') !== (url.password === ''))
    return fail(context, 'must have both a user name and a password, or neither')
  const secure = url.protocol === 'smtps:'
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const server = { host, port: Number(url.port) || (secure ? 465 : 587), secure }
  try {
    const [user, pass] = [decodeURIComponent(url.username), decodeURIComponent(url.password)]
    return user ? { ...server, auth: { user, pass } } : server
  } catch {
    return fail(context, 'has a user name or password that is not valid percent-encoded UTF-8')
  }
})

export const syslogServer = z.string().transform((value, context): SyslogServer => {
  const url = URL.parse(value)
  if (!url?.hostname || !['tcp:', 'tls:'].includes(url.protocol))
    return fail(context, 'must look like tls://logs.example.com:6514 or tcp://logs.example.com:601')
  if (url.username || url.password || !['', '/'].includes(url.pathname) || url.search || url.hash)
    return fail(context, 'must end after host and port, and has no user name: there are no options')
  const tls = url.protocol === 'tls:'
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) || (tls ? 6514 : 601), tls }
})

export const mailbox = z.string().transform((value, context): Mailbox => {
  const match = /^(?:(?:"([^"<>]*)"|([^"<>]*?))\s*<([^<>\s]+)>|([^<>\s]+))$/.exec(value.trim())
  const address = match?.[3] ?? match?.[4] ?? ''
  if (/[\p{Cc}\u2028\u2029]/u.test(value) || !/^[^\s@<>()[\],;:\\"]{1,64}@[^\s@<>()[\],;:\\"/]{1,255}$/u.test(address))
    return fail(context, 'must be an email address, such as no-reply@example.com or Example <no-reply@example.com>')
  return { name: (match?.[1] ?? match?.[2])?.trim() || defaultSender, address }
})

export const defaultSender = 'Sallyport'

export const webhookAddress = z.string().transform((value, context) => {
  const url = URL.parse(value)
  if (!url?.hostname || !['http:', 'https:'].includes(url.protocol))
    return fail(context, 'must be an address such as https://messages.example.com/sallyport')
  if (url.username || url.password)
    return fail(context, 'must not contain a user name or password: the signature says who calls')
  if (url.hash || value.includes('#')) return fail(context, 'must not have a fragment')
  return url.href
})

export const webhookSecrets = z.string().transform((value, context) => {
  const secrets = value.split(',').map((part) => {
    const text = part.trim().replace(/^whsec_/, '')
    return /^[A-Za-z0-9+/_-]+={0,2}$/.test(text) ? Buffer.from(text, 'base64') : Buffer.alloc(0)
  })
  if (secrets.some((secret) => secret.length < 32 || secret.length > 64))
    return fail(
      context,
      'must be 32 to 64 random bytes in base64, with or without whsec_ in front, several separated by commas; make one with: openssl rand -base64 32',
    )
  if (secrets.some((secret) => new Set(secret).size < 8))
    return fail(context, 'is not random: a repeated or trivial value protects nothing')
  return secrets
})

function fail(context: { addIssue: (message: string) => void }, message: string): never {
  context.addIssue(message)
  return z.NEVER
}

/** name -> schema, default as written in the environment, one sentence. The order is the order of the documentation. */

export function seconds(min: number, max: number) {
  return z
    .string()
    .regex(/^\d+$/, 'must be a whole number of seconds')
    .transform(Number)
    .refine((n) => n >= min && n <= max, `must be from ${min} to ${max} seconds`)
}
