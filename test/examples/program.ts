// Starts a program of examples/ as a reader would, and waits until it says where it listens.
import { type Running, runNode } from '#test/support/processes.ts'

export type Program = Readonly<{
  url: string
  output(): string
  /** What it prints may come after its answer: waits for it. */
  prints: Running['prints']
  stop(): Promise<void>
}>

/** @param env the whole environment besides PATH. @throws Error with everything it printed when it ends before it listens. */
export async function startProgram(file: string, env: Record<string, string>): Promise<Program> {
  const running = runNode([file], { env })
  const text = await running.prints(/ on https?:\/\/\S+\n/)
  return {
    url: / on (https?:\/\/\S+)\n/.exec(text)?.[1] ?? '',
    output: running.output,
    prints: running.prints,
    async stop() {
      running.child.kill('SIGTERM')
      await running.ended()
    },
  }
}
