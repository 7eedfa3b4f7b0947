// The only reader of the environment. One table (config-variables.ts) gives the types, the checks and docs/configuration.md; the result is frozen.
// Nothing here opens a file besides the `X_FILE` forms and nothing connects to anything.
//
// Some variables may also be stored (src/settings/): the environment goes before what is stored, and that before the default. `withStored`
// is the configuration with what is stored, `followStored` one that goes on following it (docs/decisions/052).
import { readFileSync } from 'node:fs'
import { isAbsolute, resolve } from 'node:path'
import {
  defaultSender,
  loopback,
  type Mailbox,
  type SmtpServer,
  type SyslogServer,
  type Webhook,
} from './config-values.ts'
import { type settingGroups, variables } from './config-variables.ts'

export type { Mailbox, SmtpServer, SyslogServer, Webhook } from './config-values.ts'
export { settingGroups } from './config-variables.ts'

/** Every problem at once: an operator fixes one list, not one name after another. */
export class ConfigurationError extends Error {
  readonly problems: readonly string[]
  constructor(problems: readonly string[]) {
    super(`Configuration problems:\n${problems.map((p) => `  - ${p}`).join('\n')}`)
    this.name = 'ConfigurationError'
    this.problems = problems
  }
}

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

Every variable the server reads, made from the table in \`src/config-variables.ts\`. Any \`X\` may be given as \`X_FILE\`, the path of a file
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
