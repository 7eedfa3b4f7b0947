// The process that hashes passwords, and nothing else. Its parent (hashing.ts) sends work over a channel that only the two of
// them hold and says how much of it at once; it ends with the parent, however the parent ends.
import { readdirSync } from 'node:fs'
import { constants, getPriority, setPriority } from 'node:os'
import argon2 from 'argon2'
import type { HashingAnswer, HashingWork } from './hashing.ts'

stepBack(Number(process.argv[2]))
// A machine that shuts down signals everybody at once: logins under way are finished first, the end of the channel is our signal.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL')) // an exit would wait for the hashes under way, for nobody
process.on('message', async (work: HashingWork) => {
  const answer: HashingAnswer = await carryOut(work).then(
    (result) => ({ id: work.id, result }),
    (error: Error) => ({ id: work.id, problem: error.message }),
  )
  process.send?.(answer, () => undefined) // the parent may be gone by now
})

function carryOut({ hash, password, parameters }: HashingWork): Promise<boolean | string> {
  return hash === undefined
    ? argon2.hash(password, { type: argon2.argon2id, ...parameters })
    : argon2.verify(hash, password)
}

/** Tokens go before logins. Linux keeps a priority for each thread, and the threads that hash exist by now. */
function stepBack(steps: number): void {
  if (steps === 0) return
  const priority = Math.min(getPriority() + steps, constants.priority.PRIORITY_LOW)
  const threads = process.platform === 'linux' ? readdirSync('/proc/self/task').map(Number) : [process.pid]
  for (const thread of threads)
    try {
      setPriority(thread, priority)
    } catch (error) {
      // Where the machine forbids it, or the thread has just ended: slower neighbours are better than no logins.
      process.stderr.write(`the priority of the hashing process stays as it is: ${(error as Error).message}\n`)
    }
}
