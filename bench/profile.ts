// `--profile=SCENARIO`: where the time of our server goes while that scenario runs. The profiler is started over the inspector
// once the server is warm, so that start-up is not in it.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort, startArm } from './arms/arms.ts'
import type { Run } from './figures/figure.ts'
import { closedLoop } from './load.ts'
import { checkout } from './processes.ts'
import { type Scenario, targetAt } from './scenarios/scenario.ts'

type Frame = { functionName: string; url: string; lineNumber: number }
type Profile = { nodes: { id: number; callFrame: Frame }[]; samples: number[]; timeDeltas: number[] }

export async function profileOurs(scenario: Scenario, { settings, postgres, workspace }: Run): Promise<void> {
  const inspectorPort = await freePort()
  const arm = await startArm('ours', { postgres, workspace, nodeOptions: [`--inspect=127.0.0.1:${inspectorPort}`] })
  try {
    const inspector = await openInspector(inspectorPort)
    await inspector.call('Profiler.enable')
    await inspector.call('Profiler.setSamplingInterval', { interval: 250 })
    const operation = await scenario.prepare(targetAt(arm.port, settings.lanes))
    const load = await closedLoop({
      port: arm.port,
      lanes: settings.lanes,
      seconds: settings.seconds,
      warmUpSeconds: 3,
      operation,
      onWarm: () => inspector.call('Profiler.start'),
    })
    const { profile } = (await inspector.call('Profiler.stop')) as { profile: Profile }
    inspector.close()
    const folder = join(checkout, '.data', 'bench')
    mkdirSync(folder, { recursive: true })
    const file = join(folder, `${scenario.name}.cpuprofile`)
    writeFileSync(file, JSON.stringify(profile))
    print(profile, load.operations)
    console.log(`\nthe whole of it, for a profile viewer: ${file}`)
  } finally {
    await arm.stop()
  }
}

function print(profile: Profile, operations: number): void {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]))
  const functions = new Map<string, number>()
  const files = new Map<string, number>()
  const packages = new Map<string, number>()
  let busy = 0
  profile.samples.forEach((id, n) => {
    const frame = frames.get(id)
    const microseconds = profile.timeDeltas[n] ?? 0
    if (!frame || frame.functionName === '(idle)') return
    busy += microseconds
    const file = placeOf(frame)
    add(functions, `${frame.functionName || '(anonymous)'}  ${file}:${frame.lineNumber + 1}`, microseconds)
    add(files, file, microseconds)
    add(packages, packageOf(file), microseconds)
  })
  console.log(
    `${operations} operations, ${(busy / operations).toFixed(0)} us each on the main thread (with the profiler's own cost)`,
  )
  for (const [title, times, count] of [
    ['by function', functions, 45],
    ['by file', files, 30],
    ['by package', packages, 20],
  ] as const) {
    console.log(`\n${title}, self time: share, microseconds an operation`)
    for (const [name, time] of [...times].sort(([, a], [, b]) => b - a).slice(0, count))
      console.log(
        `${((time / busy) * 100).toFixed(1).padStart(6)} % ${(time / operations).toFixed(1).padStart(8)}  ${name}`,
      )
  }
}

function add(sums: Map<string, number>, key: string, value: number): void {
  sums.set(key, (sums.get(key) ?? 0) + value)
}

/** node_modules/koa/lib/x.js, src/oauth/provider.ts, node:net, or the engine's own word: (garbage collector). */
function placeOf({ url, functionName }: Frame): string {
  if (url === '') return functionName.startsWith('(') ? functionName : '(native)'
  return url.replace(`file://${checkout}/`, '')
}

function packageOf(file: string): string {
  const inside = /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1]
  return inside ?? (file.startsWith('src/db/generated') ? 'src/db/generated' : (/^src\/[^/]+/.exec(file)?.[0] ?? file))
}

async function openInspector(port: number) {
  const [target] = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as {
    webSocketDebuggerUrl: string
  }[]
  if (!target) throw new Error('no inspector')
  const socket = new WebSocket(target.webSocketDebuggerUrl)
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve, { once: true })
    socket.addEventListener('error', reject, { once: true })
  })
  const waiting = new Map<number, (result: unknown) => void>()
  socket.addEventListener('message', ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as { id?: number; result?: unknown }
    if (id !== undefined) waiting.get(id)?.(result)
  })
  let count = 0
  return {
    call: (method: string, params: Record<string, unknown> = {}) =>
      new Promise<unknown>((resolve) => {
        const id = ++count
        waiting.set(id, resolve)
        socket.send(JSON.stringify({ id, method, params }))
      }),
    close: () => socket.close(),
  }
}
