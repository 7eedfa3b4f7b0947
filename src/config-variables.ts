// Every variable of the environment: what it may look like, its default, and what an operator is told of it. What is done with them is in config.ts.
import { z } from 'zod'
import {
  days,
  hours,
  issuerUrl,
  mailbox,
  networks,
  perMinute,
  port,
  seconds,
  secretKeys,
  smtpServer,
  styleSheet,
  syslogServer,
  webhookAddress,
  webhookSecrets,
  workers,
} from './config-values.ts'

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

export const variables = {
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
