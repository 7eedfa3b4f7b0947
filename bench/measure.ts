// One scenario on one arm for one round.
import type { Arm, ArmName } from './arms/arms.ts'
import { closedLoop, percentile } from './load.ts'
import type { Cpu } from './processes.ts'
import { type Scenario, targetAt } from './scenarios/scenario.ts'

export type Measurement = {
  scenario: string
  arm: ArmName
  round: number
  operations: number
  seconds: number
  perSecond: number
  /** Of the server's processes for each operation, hashing of passwords apart. */
  cpuMicroseconds: number
  hashingMicroseconds: number
  /** Milliseconds. */
  p50: number
  p99: number
  rssMegabytes: number
}

export async function measure(
  scenario: Scenario,
  arm: Arm,
  options: { round: number; lanes: number; seconds: number; warmUpSeconds: number },
): Promise<Measurement> {
  const { lanes, round } = options
  const operation = await scenario.prepare(targetAt(arm.port, lanes))
  const readings: Cpu[] = []
  const load = await closedLoop({
    port: arm.port,
    lanes,
    warmUpSeconds: options.warmUpSeconds,
    seconds: options.seconds,
    operation,
    onWindow: () => readings.push(arm.cpu()),
  })
  const [before, after] = readings
  if (!before || !after) throw new Error('no reading')
  return {
    scenario: scenario.name,
    arm: arm.name,
    round,
    operations: load.operations,
    seconds: load.seconds,
    perSecond: load.operations / load.seconds,
    cpuMicroseconds: (after.serving - before.serving) / load.operations,
    hashingMicroseconds: (after.hashing - before.hashing) / load.operations,
    p50: percentile(load.milliseconds, 0.5),
    p99: percentile(load.milliseconds, 0.99),
    rssMegabytes: arm.rss(),
  }
}
