// The only reader of the environment. One schema gives the types, the checks and docs/configuration.md; the result is frozen.
// Nothing here opens a file besides the `X_FILE` forms and nothing connects to anything.
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import { isAbsolute, resolve } from 'node:path'
import { z } from 'zod'

/** Every problem at once: an operator fixes one list, not one name after another. */
export class ConfigurationError extends Error {
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(`Configuration problems:\n${problems.map((p) => `  - ${p}`).join('\n')}`)
    this.name = 'ConfigurationError'
    this.problems = problems
  }
}

const loopback = (hostname: string) =>
  hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname)

const issuerUrl = z.string().transform((value, context) => {
  const url = URL.parse(value)
  if (!url || !['http:', 'https:'].includes(url.protocol))
    return fail(context, 'must be an origin such as https://id.example.com')
  if (url.username || url.password) return fail(context, 'must not contain a user name or password')
  if (url.pathname !== '/' || url.search || url.hash || value.includes('?') || value.includes('#'))
    return fail(context, 'must be an origin: remove the path, query or fragment')
  return url.origin
})

const port = (name: string) =>
  z
    .string()
    .regex(/^\d{1,5}$/, `${name} must be a whole number from 0 to 65535`)
    .transform(Number)
    .refine((n) => n <= 65535, 'must be at most 65535')

const maxWorkers = 64

const workers = z.string().transform((value, context) => {
  if (value === 'auto') return Math.min(availableParallelism(), maxWorkers)
  const count = /^\d{1,2}$/.test(value) ? Number(value) : 0
  return count >= 1 && count <= maxWorkers
    ? count
    : fail(context, `must be auto or a whole number from 1 to ${maxWorkers}`)
})

const secretKeys = z.string().transform((value, context) => {
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

const proxies = z.string().transform((value, context) => {
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

const smtpServer = z.string().transform((value, context): SmtpServer => {
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

const mailbox = z.string().transform((value, context): Mailbox => {
  const match = /^(?:(?:"([^"<>]*)"|([^"<>]*?))\s*<([^<>\s]+)>|([^<>\s]+))$/.exec(value.trim())
  const address = match?.[3] ?? match?.[4] ?? ''
  if (/[\p{Cc}\u2028\u2029]/u.test(value) || !/^[^\s@<>()[\],;:\\"]{1,64}@[^\s@<>()[\],;:\\"/]{1,255}$/u.test(address))
    return fail(context, 'must be an email address, such as no-reply@example.com or Example <no-reply@example.com>')
  return { name: (match?.[1] ?? match?.[2])?.trim() || defaultSender, address }
})

const defaultSender = 'Sallyport'

function fail(context: { addIssue: (message: string) => void }, message: string): never {
  context.addIssue(message)
  return z.NEVER
}

/** name -> schema, default as written in the environment, one sentence. The order is the order of the documentation. */
const variables = {
  ISSUER_URL: {
    schema: issuerUrl,
    default: 'http://localhost:3000',
    production: 'https, or http on loopback',
    about:
      'The origin people and applications see. It is the issuer of every token, the base of every link and the only Host that is answered.',
  },
  PORT: { schema: port('PORT'), default: '3000', about: 'TCP port to listen on.' },
  HOST: {
    schema: z.string().min(1),
    default: undefined,
    about: 'Address to listen on. Default: loopback outside production, every address in production.',
  },
  DATABASE_URL: {
    schema: z
      .string()
      .refine(
        (v) => /^postgres(ql)?:\/\//.test(v) && URL.canParse(v),
        'must look like postgresql://user:password@host:5432/database',
      ),
    default: undefined,
    production: 'required',
    about: 'PostgreSQL 15 or newer. Unset: an embedded PostgreSQL in DATA_DIR.',
  },
  DATA_DIR: {
    schema: z.string().min(1),
    default: '.data',
    about: 'Where the embedded database and the generated secret key live.',
  },
  SECRET_KEY: {
    schema: secretKeys,
    default: undefined,
    production: 'required',
    about:
      '32 random bytes, base64url. Encrypts secrets at rest and signs cookies. Several, separated by commas, for rotation: the first writes, all read. Generated into DATA_DIR outside production.',
  },
  SALLYPORT_CONFIG: {
    schema: z.string().min(1),
    default: undefined,
    about: 'A declarative file (YAML), applied at start without pruning, before /readyz answers 200.',
  },
  ADMIN_EMAIL: {
    schema: z.email('must be an email address'),
    default: undefined,
    about:
      'With ADMIN_PASSWORD: makes the first administrator at the first start, in place of the one-time set-up code.',
  },
  ADMIN_PASSWORD: {
    schema: z.string().min(15, 'must have at least 15 characters').max(256, 'must have at most 256 characters'),
    default: undefined,
    about: 'See ADMIN_EMAIL. Read at the first start only.',
  },
  SMTP_URL: {
    schema: smtpServer,
    default: undefined,
    about:
      'The mail server: `smtps://` speaks TLS from the start, `smtp://` changes to it where the server offers it, and sends a user name and password over TLS only. Unset: nothing is mailed; outside production, on a loopback issuer, mails are shown at /dev/mail.',
  },
  MAIL_FROM: {
    schema: mailbox,
    default: undefined,
    about: 'Sender of mails: an address, or `Name <address>`. Default: no-reply at the host of ISSUER_URL.',
  },
  SIGN_UP: {
    schema: z.enum(['off', 'open', 'invitation']),
    default: 'off',
    about:
      'Who may create an account: nobody (accounts are made by the operator), everybody who proves an email address, or those who were invited (`users invite`, POST /api/v1/invitations).',
  },
  EMAIL_VERIFICATION: {
    schema: z.enum(['optional', 'required']),
    default: 'optional',
    about: 'Whether a person whose email address is not verified has to verify it, by a code, before they can sign in.',
  },
  EMAIL_SIGN_IN: {
    schema: z.enum(['off', 'on']),
    default: 'off',
    about:
      'Whether people with a verified address may have a code mailed to them instead of typing their password. A second factor is asked for as after a password.',
  },
  TRUST_PROXY: {
    schema: proxies,
    default: '',
    about:
      'Addresses or ranges of reverse proxies whose X-Forwarded-For is believed. Everybody else’s is removed. A proxy that is not listed is the address of everybody behind it, also for limits on guessing.',
  },
  WORKERS: {
    schema: workers,
    default: '1',
    about:
      'Processes that answer, on one port: a number, or `auto` for one per core. Each has its own DATABASE_POOL_SIZE connections.',
  },
  LOG_LEVEL: {
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']),
    default: 'info',
    about: 'Least severe line to print.',
  },
  METRICS_PORT: {
    schema: port('METRICS_PORT'),
    default: '0',
    about: 'Port of /metrics (Prometheus), on loopback unless HOST is set; one for all workers. 0: off.',
  },
  DATABASE_POOL_SIZE: {
    schema: z
      .string()
      .regex(/^[1-9]\d{0,2}$/, 'must be a whole number from 1 to 999')
      .transform(Number),
    default: '10',
    about: 'Database connections per process.',
  },
  PASSWORD_HASH_MEMORY_KIB: {
    schema: z
      .string()
      .regex(/^\d{1,7}$/, 'must be a whole number of KiB')
      .transform(Number)
      .refine((n) => n >= 19_456 && n <= 262_144, 'must be from 19456 to 262144'),
    default: '47104',
    about:
      'Memory of one password hash (argon2id). 47104 (46 MiB) or more, or from 19456 (19 MiB) with a PASSWORD_HASH_TIME_COST of 2 or more. Raised: each password is hashed anew at its owner’s next login.',
  },
  PASSWORD_HASH_TIME_COST: {
    schema: z
      .string()
      .regex(/^\d{1,2}$/, 'must be a whole number')
      .transform(Number)
      .refine((n) => n >= 1 && n <= 16, 'must be from 1 to 16'),
    default: '1',
    about: 'Passes over that memory.',
  },
  BREACHED_PASSWORDS_FILE: {
    schema: z.string().min(1),
    default: undefined,
    about:
      'Passwords that may not be chosen: a file of SHA-1 hashes, sorted, one a line, as the downloader of Have I Been Pwned writes it. It is searched where it lies, however large.',
  },
  SESSION_TTL_SECONDS: {
    schema: seconds(300, 31_536_000),
    default: '86400',
    about: 'Absolute lifetime of a browser session.',
  },
  SIGNING_KEY_ROTATION_DAYS: {
    schema: z
      .string()
      .regex(/^\d{1,4}$/, 'must be a whole number of days')
      .transform(Number)
      .refine((n) => n <= 3650, 'must be at most 3650 days'),
    default: '90',
    about:
      'For how long a key signs before the announced one takes its place; the old one stays published until nothing valid names it. 0: never by itself, only `sallyport keys rotate`.',
  },
  SESSION_IDLE_TTL_SECONDS: {
    schema: seconds(300, 31_536_000),
    default: '3600',
    about: 'A browser session that was not used for so long is over, whatever is left of SESSION_TTL_SECONDS.',
  },
  ACCOUNT_DELETION_GRACE_DAYS: {
    schema: z
      .string()
      .regex(/^\d{1,3}$/, 'must be a whole number of days')
      .transform(Number)
      .refine((n) => n <= 365, 'must be from 0 to 365'),
    default: '30',
    about:
      'Days between a person deleting their account, which switches it off at once, and its removal. Until then an administrator can take them back.',
  },
  THEME_CSS: {
    schema: z.string().max(16_384, 'must have at most 16384 characters'),
    default: undefined,
    about:
      'CSS of your own for the hosted pages, loaded after ours: usually THEME_CSS_FILE, a file that redefines custom properties such as --accent. Served from our origin; what it names elsewhere is not loaded.',
  },
  SHUTDOWN_TIMEOUT_SECONDS: {
    schema: seconds(1, 300),
    default: '8',
    about: 'How long requests in flight may take after SIGTERM.',
  },
} as const

function seconds(min: number, max: number) {
  return z
    .string()
    .regex(/^\d+$/, 'must be a whole number of seconds')
    .transform(Number)
    .refine((n) => n >= min && n <= max, `must be from ${min} to ${max} seconds`)
}

/** `auth` travels over TLS only. */
export type SmtpServer = Readonly<{
  host: string
  port: number
  secure: boolean
  auth?: Readonly<{ user: string; pass: string }>
}>
export type Mailbox = Readonly<{ name: string; address: string }>

export type Config = Readonly<{
  production: boolean
  issuerUrl: string
  https: boolean
  port: number
  host: string
  databaseUrl: string | undefined
  databasePoolSize: number
  dataDir: string
  /** Undefined only outside production: then keys/secret-key.ts generates one into `dataDir`. The first writes, all read. */
  secretKeys: readonly Buffer[] | undefined
  configFile: string | undefined
  adminEmail: string | undefined
  adminPassword: string | undefined
  smtp: SmtpServer | undefined
  mailFrom: Mailbox
  /** smtp: sent. page: kept and shown at /dev/mail. none: there is nowhere to send mail to. */
  mail: 'smtp' | 'page' | 'none'
  signUp: 'off' | 'open' | 'invitation'
  emailVerification: 'optional' | 'required'
  emailSignIn: 'off' | 'on'
  trustProxy: readonly string[]
  workers: number
  /** 0: off. */
  metricsPort: number
  metricsHost: string
  logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent'
  passwordHashMemoryKib: number
  passwordHashTimeCost: number
  breachedPasswordsFile: string | undefined
  sessionTtlSeconds: number
  /** 0: never by itself. */
  signingKeyRotationDays: number
  sessionIdleTtlSeconds: number
  accountDeletionGraceDays: number
  themeCss: string | undefined
  shutdownTimeoutSeconds: number
}>

/** @param env `process.env` or a test's. Any `X` may be given as `X_FILE`, the path of a file that holds it.
 *  @throws ConfigurationError with every problem. */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const problems: string[] = []
  const values: Record<string, unknown> = {}
  for (const [name, variable] of Object.entries(variables)) {
    const text = given(env, name, problems) ?? variable.default
    if (text === undefined) continue
    const parsed = variable.schema.safeParse(text)
    if (parsed.success) values[name] = parsed.data
    else
      for (const issue of parsed.error.issues)
        problems.push(`${name} ${issue.message.replace(new RegExp(`^${name} `), '')}`)
  }

  const production = env.NODE_ENV === 'production'
  const issuer = values.ISSUER_URL as string | undefined
  // OWASP Password Storage Cheat Sheet: less memory only with more passes.
  if (values.PASSWORD_HASH_TIME_COST === 1 && Number(values.PASSWORD_HASH_MEMORY_KIB) < 47_104)
    problems.push('PASSWORD_HASH_MEMORY_KIB must be at least 47104 with a PASSWORD_HASH_TIME_COST of 1')
  if (values.METRICS_PORT !== 0 && values.METRICS_PORT === values.PORT)
    problems.push('METRICS_PORT must differ from PORT')
  if (values.PORT === 0 && Number(values.WORKERS) > 1) problems.push('PORT must be named when several WORKERS share it')
  if ((values.ADMIN_EMAIL === undefined) !== (values.ADMIN_PASSWORD === undefined))
    problems.push('ADMIN_EMAIL and ADMIN_PASSWORD belong together: set both or neither')
  if (production) {
    for (const name of ['DATABASE_URL', 'SECRET_KEY'])
      if (values[name] === undefined && !problems.some((p) => p.startsWith(name)))
        problems.push(`${name} is required in production`)
    if (given(env, 'ISSUER_URL', []) === undefined) problems.push('ISSUER_URL is required in production')
    if (issuer?.startsWith('http:') && !loopback(new URL(issuer).hostname))
      problems.push('ISSUER_URL must use https in production (plain http is accepted on loopback only)')
  }
  if (problems.length > 0) throw new ConfigurationError(problems)

  return Object.freeze({
    production,
    issuerUrl: issuer ?? '',
    https: issuer?.startsWith('https:') ?? false,
    port: values.PORT as number,
    host: (values.HOST as string | undefined) ?? (production ? '::' : 'localhost'),
    databaseUrl: values.DATABASE_URL as string | undefined,
    databasePoolSize: values.DATABASE_POOL_SIZE as number,
    dataDir: isAbsolute(values.DATA_DIR as string) ? (values.DATA_DIR as string) : resolve(values.DATA_DIR as string),
    secretKeys: values.SECRET_KEY as Buffer[] | undefined,
    configFile: values.SALLYPORT_CONFIG as string | undefined,
    adminEmail: values.ADMIN_EMAIL as string | undefined,
    adminPassword: values.ADMIN_PASSWORD as string | undefined,
    smtp: values.SMTP_URL as SmtpServer | undefined,
    mailFrom: (values.MAIL_FROM as Mailbox | undefined) ?? {
      name: defaultSender,
      address: `no-reply@${issuer ? new URL(issuer).hostname : ''}`,
    },
    mail: values.SMTP_URL ? 'smtp' : !production && issuer && loopback(new URL(issuer).hostname) ? 'page' : 'none',
    signUp: values.SIGN_UP as Config['signUp'],
    emailVerification: values.EMAIL_VERIFICATION as Config['emailVerification'],
    emailSignIn: values.EMAIL_SIGN_IN as Config['emailSignIn'],
    trustProxy: values.TRUST_PROXY as string[],
    workers: values.WORKERS as number,
    metricsPort: values.METRICS_PORT as number,
    // Not the production default of HOST: what is counted is the operator's, not everybody's.
    metricsHost: (values.HOST as string | undefined) ?? 'localhost',
    logLevel: values.LOG_LEVEL as Config['logLevel'],
    passwordHashMemoryKib: values.PASSWORD_HASH_MEMORY_KIB as number,
    passwordHashTimeCost: values.PASSWORD_HASH_TIME_COST as number,
    breachedPasswordsFile: values.BREACHED_PASSWORDS_FILE as string | undefined,
    sessionTtlSeconds: values.SESSION_TTL_SECONDS as number,
    signingKeyRotationDays: values.SIGNING_KEY_ROTATION_DAYS as number,
    sessionIdleTtlSeconds: values.SESSION_IDLE_TTL_SECONDS as number,
    accountDeletionGraceDays: values.ACCOUNT_DELETION_GRACE_DAYS as number,
    themeCss: values.THEME_CSS as string | undefined,
    shutdownTimeoutSeconds: values.SHUTDOWN_TIMEOUT_SECONDS as number,
  })
}

/** An empty value counts as unset, as compose files write it. */
function given(env: NodeJS.ProcessEnv, name: string, problems: string[]): string | undefined {
  const file = env[`${name}_FILE`]
  if (env[name] && file) problems.push(`${name} and ${name}_FILE are both set: keep one`)
  if (!file) return env[name] || undefined
  try {
    return readFileSync(file, 'utf8').trim() || undefined
  } catch {
    problems.push(`${name}_FILE names a file that cannot be read: ${file}`)
    return undefined
  }
}

/** The text of docs/configuration.md; a test compares the two. */
export function documentConfiguration(): string {
  const rows = Object.entries(variables).map(
    ([name, v]) =>
      `| \`${name}\` | ${v.default === undefined ? '' : `\`${v.default || '(empty)'}\``} | ${'production' in v ? v.production : ''} | ${v.about} |`,
  )
  return `# Configuration

Every variable the server reads, made from the schema in \`src/config.ts\`. Any \`X\` may be given as \`X_FILE\`, the path of a file
that holds the value. An empty value counts as unset. With \`NODE_ENV=production\` a missing or unsafe value stops the start with
one list of every problem.

| variable | default | in production | what it is |
|---|---|---|---|
${rows.join('\n')}
`
}
