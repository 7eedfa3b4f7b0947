// A figure is what is measured once beside the scenarios, and what it should be.
import type { Arm, ArmName } from '../arms/arms.ts'
import type { Measurement } from '../measure.ts'
import type { Postgres } from '../postgres.ts'
import type { Settings } from '../settings.ts'

export type Figure = {
  name: string
  title: string
  value: number
  unit: string
  /** Undefined: told for the record. */
  goal?: { atMost: number } | { atLeast: number }
  note?: string
}

export type Run = {
  settings: Settings
  postgres: Postgres
  /** A folder of this run. */
  workspace: string
  /** Started and warm, all of them at once. */
  arms: ReadonlyMap<ArmName, Arm>
  measurements: readonly Measurement[]
}

/** `name` is what --only knows. @param onlyInFull takes long: left out unless asked for by --full or by name. */
export type FigureSource = { name: string; onlyInFull?: true; measure(run: Run): Promise<Figure[]> }

export function passed({ value, goal }: Pick<Figure, 'value' | 'goal'>): boolean | undefined {
  if (!goal) return undefined
  return 'atMost' in goal ? value <= goal.atMost : value >= goal.atLeast
}

export function armOf(run: Run, name: ArmName): Arm {
  const arm = run.arms.get(name)
  if (!arm) throw new Error(`the arm ${name} is not running`)
  return arm
}
