// The parent of the embedded PostgreSQL. Its standard input is a pipe from the process that wants the database; when that
// process ends in any way, kill -9 included, the system closes the pipe and the database is stopped. It has no other job,
// imports nothing of ours and runs in a session of its own.
import { spawn } from 'node:child_process'
import { rmSync, writeSync } from 'node:fs'

const { command, account, socket } = JSON.parse(process.argv[2] ?? '') as {
  command: [string, ...string[]]
  account?: { uid: number; gid: number }
  socket: { path: string; temporary: boolean }
}

// A machine that shuts down signals every process at once: the one that uses the database must be able to drain first.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.on(signal, () => undefined)

const [program, ...parameters] = command
const server = spawn(program, parameters, { ...account, cwd: '/', stdio: ['ignore', 2, 2] })
server.on('error', (error) => {
  process.stderr.write(`${error.message}\n`)
  process.exit(1)
})
server.on('exit', (code, signal) => {
  // It removes its socket itself, unless it was killed. Otherwise hands off: another server may be about to use the folder.
  if (socket.temporary || signal) rmSync(socket.path, { recursive: true, force: true })
  process.exit(code ?? 1)
})
if (server.pid) writeSync(1, `${server.pid}\n`)

// PostgreSQL's own words for it: SIGINT is "fast" (sessions are cut, everything is written), SIGQUIT "immediate" (recovers at the next start).
process.stdin.resume().on('end', () => {
  server.kill('SIGINT')
  setTimeout(() => server.kill('SIGQUIT'), 8_000)
  setTimeout(() => server.kill('SIGKILL'), 13_000)
})
