// The only reader of the environment. One schema gives the types, the checks and docs/configuration.md; the result is frozen.
// Nothing here opens a file besides the `X_FILE` forms and nothing connects to anything.
//
// Some variables may also be stored (src/settings/): the environment goes before what is stored, and that before the default. `withStored`
// is the configuration with what is stored, `followStored` one that goes on following it (docs/decisions/052).
import { readFileSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import { z } from 'zod'
import {
  days,
  defaultSender,
  hours,
  issuerUrl,
  loopback,
  type Mailbox,
  mailbox,
  networks,
  perMinute,
  port,
  type SmtpServer,
  type SyslogServer,
  seconds,
  secretKeys,
  smtpServer,
  styleSheet,
  syslogServer,
  type Webhook,
  webhookAddress,
  webhookSecrets,
  workers,
} from './config-values.ts'

export type { Mailbox, SmtpServer, SyslogServer, Webhook } from './config-values.ts'

/** Every problem at once: an operator fixes one list, not one name after another. */
export class ConfigurationError extends Error {
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(`Configuration problems:\n${problems.map((p) => `  - ${p}`).join('\n')}`)
    this.name = 'ConfigurationError'
    this.problems = problems
  }
}

const variables = {
  ISSUER_URL: {
    group: 'server',
    schema: issuerUrl,
    default: 'http://localhost:3000',
    production: 'https, or http on loopback',
    about:
      'The origin people and applications see. It is the issuer of every token, the base of every link and the only Host that is answered.',
  },
  PORT: {
    group: 'server',
    schema: port('PORT'),
    default: '3000',
    about: 'TCP port to listen on.',
  },
  HOST: {
    group: 'server',
    schema: z.string().min(1),
    default: undefined,
    about: 'Address to listen on. Default: loopback outside production, every address in production.',
  },
  DATABASE_URL: {
    group: 'storage',
    shown: 'address',
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
    group: 'storage',
    schema: z.string().min(1),
    default: '.data',
    about: 'Where the embedded database and the generated secret key live.',
  },
  SECRET_KEY: {
    group: 'storage',
    shown: 'secret',
    schema: secretKeys,
    default: undefined,
    production: 'required',
    about:
      '32 random bytes, base64url. Encrypts secrets at rest and signs cookies. Several, separated by commas, for rotation: the first writes, all read. Generated into DATA_DIR outside production.',
  },
  SALLYPORT_CONFIG: {
    group: 'storage',
    schema: z.string().min(1),
    default: undefined,
    about: 'A declarative file (YAML), applied at start without pruning, before /readyz answers 200.',
  },
  SECRETS_DIR: {
    group: 'storage',
    schema: z.string().min(1),
    default: '/run/secrets',
    about:
      'Where files with secrets lie that a declarative file may name (`clientSecretFile`), besides its own folder. Files that hold secrets of the server itself cannot be named.',
  },
  ADMIN_EMAIL: {
    group: 'people',
    schema: z.email('must be an email address'),
    default: undefined,
    about:
      'With ADMIN_PASSWORD: makes the first administrator at the first start, in place of the one-time set-up code.',
  },
  ADMIN_PASSWORD: {
    group: 'people',
    shown: 'secret',
    schema: z.string().min(15, 'must have at least 15 characters').max(256, 'must have at most 256 characters'),
    default: undefined,
    about: 'See ADMIN_EMAIL. Read at the first start only.',
  },
  SMTP_URL: {
    group: 'mail',
    shown: 'address',
    schema: smtpServer,
    default: undefined,
    about:
      'The mail server: `smtps://` speaks TLS from the start, `smtp://` changes to it where the server offers it, and sends a user name and password over TLS only. Unset: nothing is mailed; outside production, on a loopback issuer, mails are shown at /dev/mail.',
  },
  MAIL_FROM: {
    group: 'mail',
    schema: mailbox,
    default: undefined,
    about: 'Sender of mails: an address, or `Name <address>`. Default: no-reply at the host of ISSUER_URL.',
  },
  SIGN_UP: {
    group: 'people',
    stored: 'choice',
    schema: z.enum(['off', 'open', 'invitation']),
    default: 'off',
    about:
      'Who may create an account: nobody (accounts are made by the operator), everybody who proves an email address, or those who were invited (`users invite`, POST /api/v1/invitations).',
  },
  EMAIL_VERIFICATION: {
    group: 'people',
    stored: 'choice',
    schema: z.enum(['optional', 'required']),
    default: 'optional',
    about: 'Whether a person whose email address is not verified has to verify it, by a code, before they can sign in.',
  },
  EMAIL_SIGN_IN: {
    group: 'people',
    stored: 'choice',
    schema: z.enum(['off', 'on']),
    default: 'off',
    about:
      'Whether people with a verified address may have a code mailed to them instead of typing their password. A second factor is asked for as after a password.',
  },
  IMPERSONATION: {
    group: 'people',
    schema: z.enum(['off', 'on']),
    default: 'off',
    about:
      'Whether administrators who hold users:impersonate may act as a person for half an hour at most, to see what they see. The person is told, and everything is recorded.',
  },
  FACTOR_WEBHOOK_URL: {
    group: 'factors',
    shown: 'address',
    schema: webhookAddress,
    default: undefined,
    production: 'https, or http on loopback',
    about:
      'Where codes for text messages and requests for approval on a phone are posted, for a program of yours that passes them on (docs/factors-webhook.md). Unset: nobody can add a phone number, and what needs one does not get through.',
  },
  FACTOR_WEBHOOK_SECRET: {
    group: 'factors',
    shown: 'secret',
    schema: webhookSecrets,
    default: undefined,
    about:
      'Signs what is posted to FACTOR_WEBHOOK_URL (Standard Webhooks): 32 to 64 random bytes, base64, with or without `whsec_` in front. Several, separated by commas, for rotation: each signs.',
  },
  WEBHOOK_NETWORKS: {
    group: 'server',
    schema: networks,
    default: undefined,
    about:
      'Addresses or ranges, such as 10.20.0.0/16, that webhooks may reach besides public ones (docs/webhooks.md). Loopback among them also allows plain http there. Default: loopback outside production, none in production.',
  },
  TRUST_PROXY: {
    group: 'server',
    schema: networks,
    default: '',
    about:
      'Addresses or ranges of reverse proxies whose X-Forwarded-For is believed. Everybody else’s is removed. A proxy that is not listed is the address of everybody behind it, also for limits on guessing.',
  },
  CLIENT_CERTIFICATE_HEADER: {
    group: 'server',
    schema: z.enum(['off', 'Client-Cert', 'X-Client-Cert', 'X-SSL-Client-Cert', 'X-Forwarded-Tls-Client-Cert']),
    default: 'off',
    about:
      'Header in which every proxy of TRUST_PROXY says which client certificate it saw, in the form of RFC 9440, as base64 of DER, or as PEM with percent-encoding. Each of them must set or remove it on every request: a certificate is no secret, so a header that a client can write makes anybody its owner.',
  },
  WORKERS: {
    group: 'server',
    schema: workers,
    default: '1',
    about:
      'Processes that answer, on one port: a number, or `auto` for one per core. Each has its own DATABASE_POOL_SIZE connections.',
  },
  LOG_LEVEL: {
    group: 'server',
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']),
    default: 'info',
    about: 'Least severe line to print.',
  },
  METRICS_PORT: {
    group: 'server',
    schema: port('METRICS_PORT'),
    default: '0',
    about: 'Port of /metrics (Prometheus), on loopback unless HOST is set; one for all workers. 0: off.',
  },
  DATABASE_POOL_SIZE: {
    group: 'storage',
    schema: z
      .string()
      .regex(/^[1-9]\d{0,2}$/, 'must be a whole number from 1 to 999')
      .transform(Number),
    default: '10',
    about: 'Database connections per process.',
  },
  DECISION_RECEIPT_TTL_DAYS: {
    group: 'limits',
    stored: 'number',
    schema: z
      .string()
      .regex(/^[1-9]\d{0,2}$/, 'must be a whole number from 1 to 999')
      .transform(Number),
    default: '7',
    about:
      'How long the reason of a refusal can be read under its X-Decision-Id. Of callers who are nobody: an hour at most, and 120 a minute for each address.',
  },
  DECISION_RECEIPTS_PERMITTED: {
    group: 'limits',
    stored: 'number',
    schema: z
      .string()
      .regex(/^(0|1|0\.\d{1,4})$/, 'must be a share from 0 to 1, such as 0.05')
      .transform(Number),
    default: '0',
    about: 'The share of permissions of which a receipt is kept, too. Refusals always have one.',
  },
  RATE_LIMIT_TOKEN_PER_MINUTE: {
    group: 'limits',
    stored: 'number',
    schema: perMinute,
    default: '600000',
    about:
      'Requests of one client to the token endpoint in each process, in bursts of up to a minute’s worth; more get 429 with Retry-After. A client without a secret is counted apart for each address. 0: no limit.',
  },
  RATE_LIMIT_INTROSPECTION_PER_MINUTE: {
    group: 'limits',
    stored: 'number',
    schema: perMinute,
    default: '600000',
    about: 'The same for introspection.',
  },
  RATE_LIMIT_REVOCATION_PER_MINUTE: {
    group: 'limits',
    stored: 'number',
    schema: perMinute,
    default: '600000',
    about: 'The same for revocation.',
  },
  RATE_LIMIT_PAR_PER_MINUTE: {
    group: 'limits',
    stored: 'number',
    schema: perMinute,
    default: '600000',
    about: 'The same for pushed authorization requests.',
  },
  RATE_LIMIT_UNIDENTIFIED_PER_MINUTE: {
    group: 'limits',
    stored: 'number',
    schema: perMinute,
    default: '3000',
    about:
      'Failed requests of one address (of IPv6 a /64) to those endpoints and to the admin API in each process: unknown clients, wrong secrets and tokens, nothing at all. Beyond it credentials are not looked at, except those of callers that were right from there within the hour. 0: no limit.',
  },
  API_KEY_DAYS: {
    group: 'keys',
    stored: 'number',
    schema: days(1, 365),
    default: '90',
    about: 'How long an API key lives when nobody says otherwise at its creation; API_KEY_MOST_DAYS, if that is less.',
  },
  API_KEY_MOST_DAYS: {
    group: 'keys',
    stored: 'number',
    schema: days(1, 365),
    default: '365',
    about: 'How long a person’s API key lives at most. Those of clients may live for any time, also for ever.',
  },
  API_KEY_OVERLAP_HOURS: {
    group: 'keys',
    stored: 'number',
    schema: hours(0, 168),
    default: '24',
    about: 'How long the value before stays good after an API key was rotated, unless the rotation says otherwise.',
  },
  PASSWORD_HASH_MEMORY_KIB: {
    group: 'factors',
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
    group: 'factors',
    schema: z
      .string()
      .regex(/^\d{1,2}$/, 'must be a whole number')
      .transform(Number)
      .refine((n) => n >= 1 && n <= 16, 'must be from 1 to 16'),
    default: '1',
    about: 'Passes over that memory.',
  },
  BREACHED_PASSWORDS_FILE: {
    group: 'factors',
    schema: z.string().min(1),
    default: undefined,
    about:
      'Passwords that may not be chosen: a file of SHA-1 hashes, sorted, one a line, as the downloader of Have I Been Pwned writes it. It is searched where it lies, however large.',
  },
  SESSION_TTL_SECONDS: {
    group: 'sessions',
    stored: 'number',
    schema: seconds(300, 31_536_000),
    default: '86400',
    about: 'Absolute lifetime of a browser session.',
  },
  REMEMBER_DEVICE_DAYS: {
    group: 'factors',
    stored: 'number',
    schema: z
      .string()
      .regex(/^\d{1,3}$/, 'must be a whole number of days')
      .transform(Number)
      .refine((n) => n <= 90, 'must be from 0 to 90'),
    default: '30',
    about:
      'For how long a person may ask not to be asked for a second factor again in one browser. It spares them only what is asked because they have one: where a role, a client or the request asks, it counts for nothing. 0: it is not offered, and what was remembered counts no more. Never offered on plain http beyond loopback.',
  },
  SIGNING_KEY_ROTATION_DAYS: {
    group: 'keys',
    stored: 'number',
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
    group: 'sessions',
    stored: 'number',
    schema: seconds(300, 31_536_000),
    default: '3600',
    about: 'A browser session that was not used for so long is over, whatever is left of SESSION_TTL_SECONDS.',
  },
  CONSOLE_SESSION_TTL_SECONDS: {
    group: 'sessions',
    stored: 'number',
    schema: seconds(300, 86_400),
    default: '28800',
    about: 'How long ago an administrator may have signed in to use the console.',
  },
  CONSOLE_IDLE_TTL_SECONDS: {
    group: 'sessions',
    stored: 'number',
    schema: seconds(60, 86_400),
    default: '1800',
    about:
      'A console that was not used for so long asks for a new sign-in, whatever is left of CONSOLE_SESSION_TTL_SECONDS.',
  },
  ACCOUNT_DELETION_GRACE_DAYS: {
    group: 'people',
    stored: 'number',
    schema: z
      .string()
      .regex(/^\d{1,3}$/, 'must be a whole number of days')
      .transform(Number)
      .refine((n) => n <= 365, 'must be from 0 to 365'),
    default: '30',
    about:
      'Days between a person deleting their account, which switches it off at once, and its removal. Until then an administrator can take them back.',
  },
  AUDIT_RETENTION_DAYS: {
    group: 'storage',
    schema: z
      .string()
      .regex(/^\d{1,5}$/, 'must be a whole number of days')
      .transform(Number)
      .refine((n) => n <= 36_500, 'must be from 0 to 36500'),
    default: '0',
    about:
      'Days that the audit record is kept, whole ones by UTC; older rows leave, and what is left can still be proven (docs/audit.md). With AUDIT_SYSLOG_URL no row leaves before it was sent. 0: for ever.',
  },
  AUDIT_SYSLOG_URL: {
    group: 'storage',
    shown: 'address',
    schema: syslogServer,
    default: undefined,
    about:
      'Where every row of the audit record is sent after its commit: `tls://host:6514` (RFC 5425; the certificate is checked, NODE_EXTRA_CA_CERTS adds an authority) or `tcp://host:601` (RFC 6587), as RFC 5424 messages with JSON (docs/audit.md). What could not be sent is sent later. Unset: nowhere.',
  },
  THEME_CSS: {
    group: 'appearance',
    stored: 'lines',
    schema: styleSheet,
    default: undefined,
    about:
      'CSS of your own for the hosted pages, loaded after ours: usually THEME_CSS_FILE, a file that redefines custom properties such as --accent. Served from our origin; what it names elsewhere is not loaded.',
  },
  SHUTDOWN_TIMEOUT_SECONDS: {
    group: 'server',
    schema: seconds(1, 300),
    default: '8',
    about: 'How long requests in flight may take after SIGTERM.',
  },
} as const

/** In the order in which they are shown. */
export const settingGroups = [
  'server',
  'storage',
  'mail',
  'people',
  'factors',
  'sessions',
  'keys',
  'limits',
  'appearance',
] as const

/** Where a value comes from. */
export const settingSources = ['environment', 'stored', 'default'] as const

/** A variable as an operator may see it. */
export type SettingInForce = Readonly<{
  name: string
  group: (typeof settingGroups)[number]
  /** As it was written; of an address without what it carries besides. Null: none, or a secret. */
  value: string | null
  /** Somebody set it; otherwise it is the default. */
  given: boolean
  source: (typeof settingSources)[number]
  /** A value is stored. It is in force where `source` says so; otherwise the environment goes before it, or this version cannot use it. */
  stored: boolean
  /** May be stored, and the environment does not say otherwise. */
  editable: boolean
  secret: boolean
  about: string
}>

/** What a declarative file may name in place of a secret (declaration/secrets.ts). A function, because the environment itself is no setting. */
export type NamedSecrets = Readonly<{
  /** 'ours': a variable that this server, or the driver of its database, reads itself. */
  variable(name: string): { value: string | undefined } | 'ours'
  directory: string
  /** Folders and files that hold what is ours. */
  ours: readonly string[]
}>

/** A variable that may be stored. `kind` is what it looks like in a form and in the declarative file. */
export type StorableSetting = Readonly<{
  name: string
  kind: 'choice' | 'number' | 'lines'
  /** Of a choice. */
  choices: readonly string[]
  default: string | undefined
}>

/** What is stored, by the name of the variable. */
export type StoredSettings = ReadonlyMap<string, string>

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
  namedSecrets: NamedSecrets
  adminEmail: string | undefined
  adminPassword: string | undefined
  smtp: SmtpServer | undefined
  mailFrom: Mailbox
  /** smtp: sent. page: kept and shown at /dev/mail. none: there is nowhere to send mail to. */
  mail: 'smtp' | 'page' | 'none'
  signUp: 'off' | 'open' | 'invitation'
  emailVerification: 'optional' | 'required'
  emailSignIn: 'off' | 'on'
  impersonation: 'off' | 'on'
  /** Undefined: nothing is sent to phones. */
  factorWebhook: Webhook | undefined
  /** Besides public addresses. */
  webhookNetworks: readonly string[]
  trustProxy: readonly string[]
  /** In lower case. */
  clientCertificateHeader: string | undefined
  workers: number
  /** 0: off. */
  metricsPort: number
  metricsHost: string
  logLevel: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent'
  /** Requests a minute, in each process. 0: no limit. */
  rateLimits: Readonly<Record<'token' | 'introspection' | 'revocation' | 'par' | 'unidentified', number>>
  apiKeys: Readonly<{ usualDays: number; mostDays: number; overlapHours: number }>
  passwordHashMemoryKib: number
  passwordHashTimeCost: number
  breachedPasswordsFile: string | undefined
  sessionTtlSeconds: number
  /** 0: not offered. */
  rememberDeviceDays: number
  /** 0: never by itself. */
  signingKeyRotationDays: number
  sessionIdleTtlSeconds: number
  consoleSessionTtlSeconds: number
  consoleIdleTtlSeconds: number
  decisionReceiptTtlDays: number
  /** 0 to 1 */
  decisionReceiptsPermitted: number
  accountDeletionGraceDays: number
  /** 0: for ever. */
  auditRetentionDays: number
  auditSyslog: SyslogServer | undefined
  themeCss: string | undefined
  shutdownTimeoutSeconds: number
  /** Of the variables that may be stored, those that the environment decides. */
  fromEnvironment: Readonly<Record<string, string>>
  /** For those who look at it. */
  inForce: readonly SettingInForce[]
}>

/** What may change while the server runs. */
type StoredFields = Pick<
  Config,
  | 'signUp'
  | 'emailVerification'
  | 'emailSignIn'
  | 'rateLimits'
  | 'apiKeys'
  | 'sessionTtlSeconds'
  | 'rememberDeviceDays'
  | 'signingKeyRotationDays'
  | 'sessionIdleTtlSeconds'
  | 'consoleSessionTtlSeconds'
  | 'consoleIdleTtlSeconds'
  | 'decisionReceiptTtlDays'
  | 'decisionReceiptsPermitted'
  | 'accountDeletionGraceDays'
  | 'themeCss'
>

/** @param env `process.env` or a test's. Any `X` may be given as `X_FILE`, the path of a file that holds it.
 *  @throws ConfigurationError with every problem. */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const problems: string[] = []
  const values: Record<string, unknown> = {}
  const inForce: SettingInForce[] = []
  const fromEnvironment: Record<string, string> = {}
  for (const [name, variable] of Object.entries(variables)) {
    const said = given(env, name, problems)
    const text = said ?? variable.default
    if (said !== undefined && 'stored' in variable) fromEnvironment[name] = said
    inForce.push(inForceOf(name, variable, { said }))
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
  const webhook = values.FACTOR_WEBHOOK_URL as string | undefined
  if ((given(env, 'FACTOR_WEBHOOK_URL', []) === undefined) !== (given(env, 'FACTOR_WEBHOOK_SECRET', []) === undefined))
    problems.push('FACTOR_WEBHOOK_URL and FACTOR_WEBHOOK_SECRET belong together: set both or neither')
  if (production) {
    for (const name of ['DATABASE_URL', 'SECRET_KEY'])
      if (values[name] === undefined && !problems.some((p) => p.startsWith(name)))
        problems.push(`${name} is required in production`)
    if (given(env, 'ISSUER_URL', []) === undefined) problems.push('ISSUER_URL is required in production')
    if (issuer?.startsWith('http:') && !loopback(new URL(issuer).hostname))
      problems.push('ISSUER_URL must use https in production (plain http is accepted on loopback only)')
    if (webhook?.startsWith('http:') && !loopback(new URL(webhook).hostname))
      problems.push('FACTOR_WEBHOOK_URL must use https in production (plain http is accepted on loopback only)')
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
    namedSecrets: namedSecrets(env, values),
    adminEmail: values.ADMIN_EMAIL as string | undefined,
    adminPassword: values.ADMIN_PASSWORD as string | undefined,
    smtp: values.SMTP_URL as SmtpServer | undefined,
    mailFrom: (values.MAIL_FROM as Mailbox | undefined) ?? {
      name: defaultSender,
      address: `no-reply@${issuer ? new URL(issuer).hostname : ''}`,
    },
    mail: values.SMTP_URL ? 'smtp' : !production && issuer && loopback(new URL(issuer).hostname) ? 'page' : 'none',
    impersonation: values.IMPERSONATION as Config['impersonation'],
    factorWebhook: webhook ? { url: webhook, secrets: values.FACTOR_WEBHOOK_SECRET as Buffer[] } : undefined,
    webhookNetworks:
      (values.WEBHOOK_NETWORKS as string[] | undefined) ?? (production ? [] : ['127.0.0.0/8', '::1/128']),
    trustProxy: values.TRUST_PROXY as string[],
    clientCertificateHeader:
      values.CLIENT_CERTIFICATE_HEADER === 'off' ? undefined : String(values.CLIENT_CERTIFICATE_HEADER).toLowerCase(),
    workers: values.WORKERS as number,
    metricsPort: values.METRICS_PORT as number,
    // Not the production default of HOST: what is counted is the operator's, not everybody's.
    metricsHost: (values.HOST as string | undefined) ?? 'localhost',
    logLevel: values.LOG_LEVEL as Config['logLevel'],
    passwordHashMemoryKib: values.PASSWORD_HASH_MEMORY_KIB as number,
    passwordHashTimeCost: values.PASSWORD_HASH_TIME_COST as number,
    breachedPasswordsFile: values.BREACHED_PASSWORDS_FILE as string | undefined,
    auditRetentionDays: values.AUDIT_RETENTION_DAYS as number,
    auditSyslog: values.AUDIT_SYSLOG_URL as SyslogServer | undefined,
    shutdownTimeoutSeconds: values.SHUTDOWN_TIMEOUT_SECONDS as number,
    ...storedFields(values, issuer ?? ''),
    fromEnvironment: Object.freeze(fromEnvironment),
    inForce: Object.freeze(inForce),
  })
}

function namedSecrets(env: NodeJS.ProcessEnv, values: Record<string, unknown>): NamedSecrets {
  const own = new Set(Object.keys(variables).flatMap((name) => [name, `${name}_FILE`]))
  const files = Object.keys(variables).flatMap((name) => env[`${name}_FILE`] || [])
  return Object.freeze({
    // libpq and pg read PGPASSWORD and its like.
    variable: (name) => (own.has(name) || /^PG[A-Z]/.test(name) ? 'ours' : { value: env[name] }),
    directory: values.SECRETS_DIR as string,
    ours: Object.freeze([values.DATA_DIR as string, ...files]),
  })
}

/** In the order in which they are shown. */
export const storableSettings: ReadonlyMap<string, StorableSetting> = new Map(
  storable().map(([name, { stored: kind, schema, default: usual }]) => [
    name,
    { name, kind, choices: 'options' in schema ? schema.options : [], default: usual },
  ]),
)

/** @returns what is wrong with the value, as in `must be …`; undefined: nothing. */
export function problemOf(name: string, text: string): string | undefined {
  return readStored(name, text)?.error?.issues[0]?.message
}

/** @param stored what this version cannot use does not count. @returns the configuration that is in force with it. */
export function withStored(config: Config, stored: StoredSettings): Config {
  const { values, inForce } = settingsWith(config, stored)
  return Object.freeze({ ...config, ...storedFields(values, config.issuerUrl), inForce })
}

/** What an operator sees of it. */
export function settingsWith(
  config: Pick<Config, 'inForce' | 'fromEnvironment'>,
  stored: StoredSettings,
): { values: Readonly<Record<string, unknown>>; inForce: Config['inForce'] } {
  const values: Record<string, unknown> = {}
  const inForce = config.inForce.map((setting) => {
    const variable = storableSettings.get(setting.name) && variables[setting.name as keyof typeof variables]
    if (!variable) return setting
    const said = config.fromEnvironment[setting.name]
    const kept = stored.get(setting.name)
    const text = said ?? (kept !== undefined && readStored(setting.name, kept)?.success ? kept : variable.default)
    if (text !== undefined) values[setting.name] = variable.schema.parse(text)
    return inForceOf(setting.name, variable, { said, kept })
  })
  return { values, inForce: Object.freeze(inForce) }
}

/** The same object for as long as the process runs: whoever reads a field reads what is in force at that moment.
 *  @returns `follow` takes what is stored now. */
export function followStored(config: Config): { config: Config; follow(stored: StoredSettings): void } {
  let current = config
  const fields = (Object.keys(config) as (keyof Config)[]).map(
    (field) => [field, { enumerable: true, get: () => current[field] }] as const,
  )
  return {
    config: Object.freeze(Object.defineProperties({}, Object.fromEntries(fields)) as Config),
    follow(stored) {
      current = withStored(config, stored)
    },
  }
}

function storable() {
  return Object.entries(variables).flatMap(([name, variable]) =>
    'stored' in variable ? [[name, variable] as const] : [],
  )
}

function readStored(name: string, text: string) {
  return storableSettings.has(name) ? variables[name as keyof typeof variables].schema.safeParse(text) : undefined
}

/** Out of values that were read by their schemas. */
function storedFields(values: Record<string, unknown>, issuer: string): StoredFields {
  const number = (name: string) => values[name] as number
  return {
    signUp: values.SIGN_UP as Config['signUp'],
    emailVerification: values.EMAIL_VERIFICATION as Config['emailVerification'],
    emailSignIn: values.EMAIL_SIGN_IN as Config['emailSignIn'],
    rateLimits: Object.freeze({
      token: number('RATE_LIMIT_TOKEN_PER_MINUTE'),
      introspection: number('RATE_LIMIT_INTROSPECTION_PER_MINUTE'),
      revocation: number('RATE_LIMIT_REVOCATION_PER_MINUTE'),
      par: number('RATE_LIMIT_PAR_PER_MINUTE'),
      unidentified: number('RATE_LIMIT_UNIDENTIFIED_PER_MINUTE'),
    }),
    apiKeys: Object.freeze({
      usualDays: Math.min(number('API_KEY_DAYS'), number('API_KEY_MOST_DAYS')),
      mostDays: number('API_KEY_MOST_DAYS'),
      overlapHours: number('API_KEY_OVERLAP_HOURS'),
    }),
    sessionTtlSeconds: number('SESSION_TTL_SECONDS'),
    // A cookie that replaces a code does not travel in the open.
    rememberDeviceDays:
      issuer.startsWith('https:') || (issuer && loopback(new URL(issuer).hostname))
        ? number('REMEMBER_DEVICE_DAYS')
        : 0,
    signingKeyRotationDays: number('SIGNING_KEY_ROTATION_DAYS'),
    sessionIdleTtlSeconds: number('SESSION_IDLE_TTL_SECONDS'),
    consoleSessionTtlSeconds: number('CONSOLE_SESSION_TTL_SECONDS'),
    consoleIdleTtlSeconds: number('CONSOLE_IDLE_TTL_SECONDS'),
    decisionReceiptTtlDays: number('DECISION_RECEIPT_TTL_DAYS'),
    decisionReceiptsPermitted: number('DECISION_RECEIPTS_PERMITTED'),
    accountDeletionGraceDays: number('ACCOUNT_DELETION_GRACE_DAYS'),
    themeCss: values.THEME_CSS as string | undefined,
  }
}

type Variable = Pick<SettingInForce, 'group' | 'about'> & {
  default: string | undefined
  /** What of a value that was set may be seen; otherwise all of it. */
  shown?: 'address' | 'secret'
  stored?: StorableSetting['kind']
}

/** @param given.said by the environment. @param given.kept what is stored. */
function inForceOf(
  name: string,
  variable: Variable,
  { said, kept }: { said: string | undefined; kept?: string | undefined },
): SettingInForce {
  const { group, about, shown, default: usual } = variable
  const source =
    said !== undefined
      ? 'environment'
      : kept !== undefined && problemOf(name, kept) === undefined
        ? 'stored'
        : 'default'
  const value = { environment: showValue(said, shown), stored: kept ?? null, default: usual ?? null }[source]
  return {
    ...{ name, group, value, given: source !== 'default', source, stored: kept !== undefined },
    ...{ editable: variable.stored !== undefined && said === undefined, secret: shown === 'secret', about },
  }
}

function showValue(text: string | undefined, shown: Variable['shown']): string | null {
  if (text === undefined || shown === 'secret') return null
  if (shown !== 'address') return text
  // A user name, a password or a token in the path or the query is nobody's business here.
  const url = URL.parse(text)
  return url && `${url.protocol}//${url.host}`
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
      `| \`${name}\` | ${v.default === undefined ? '' : `\`${v.default || '(empty)'}\``} | ${'production' in v ? v.production : ''} | ${'stored' in v ? 'yes' : ''} | ${v.about} |`,
  )
  return `# Configuration

Every variable the server reads, made from the schema in \`src/config.ts\`. Any \`X\` may be given as \`X_FILE\`, the path of a file
that holds the value. An empty value counts as unset. With \`NODE_ENV=production\` a missing or unsafe value stops the start with
one list of every problem.

Those that say so may also be *stored*: in the console at /admin/settings, with \`PATCH /api/v1/settings\`, with \`sallyport settings\`,
or in the sections \`settings\` and \`branding\` of the declarative file. What is stored is in force in every process within a second,
without a restart. The environment goes before what is stored, and that before the default: a variable that is set here cannot be changed there
([decision 052](decisions/052-what-is-stored-of-the-configuration.md)). In the file:

\`\`\`yaml
settings:
  signUp: open                  # SIGN_UP
  sessionTtlSeconds: 86400      # numbers as numbers
branding:
  cssFile: ./theme.css          # beside the file; or css: | and the sheet itself
\`\`\`

| variable | default | in production | may be stored | what it is |
|---|---|---|---|---|
${rows.join('\n')}
`
}
