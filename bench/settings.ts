// What the command line asks for.
import { parseArgs } from 'node:util'

export type Settings = Readonly<{
  mode: 'quick' | 'default' | 'full'
  /** Scenarios and figures by name; undefined: all of them. */
  only: ReadonlySet<string> | undefined
  /** Undefined: every arm that a scenario names. */
  arms: ReadonlySet<string> | undefined
  /** A scenario to be profiled; nothing else happens then. */
  profile: string | undefined
  lanes: number
  rounds: number
  seconds: number
  /** Tokens that are issued while the memory of the process is watched. */
  tokens: number
  /** How many tokens "a large table" holds. */
  rows: number
}>

const modes = {
  quick: { rounds: 1, seconds: 1.5, tokens: 20_000 },
  default: { rounds: 3, seconds: 4, tokens: 100_000 },
  full: { rounds: 5, seconds: 6, tokens: 1_000_000 },
} as const

export const usage = `npm run bench -- [options]
  --quick | --full      about 3 minutes with one round each | a million further tokens and the growth run; default about 15 minutes
  --only=A,B --arms=A,B only these scenarios, figures and arms; prints, and leaves bench/results as it is
  --seconds=N --rounds=N --lanes=N --tokens=N --rows=N
  --profile=SCENARIO    where our server's time goes in that scenario; leaves everything else out`

/** @throws TypeError for an option that does not exist. */
export function readSettings(args: readonly string[]): Settings | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      help: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      full: { type: 'boolean', default: false },
      only: { type: 'string' },
      arms: { type: 'string' },
      profile: { type: 'string' },
      lanes: { type: 'string', default: '16' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      tokens: { type: 'string' },
      rows: { type: 'string', default: '5000000' },
    },
  })
  if (values.help) return 'help'
  const mode = values.full ? 'full' : values.quick ? 'quick' : 'default'
  return {
    mode,
    only: listed(values.only),
    arms: listed(values.arms),
    profile: values.profile,
    lanes: positive('lanes', values.lanes),
    rounds: positive('rounds', values.rounds ?? modes[mode].rounds),
    seconds: positive('seconds', values.seconds ?? modes[mode].seconds),
    tokens: positive('tokens', values.tokens ?? modes[mode].tokens),
    rows: positive('rows', values.rows),
  }
}

function listed(value: string | undefined): ReadonlySet<string> | undefined {
  return value === undefined ? undefined : new Set(value.split(','))
}

function positive(name: string, value: string | number): number {
  const number = Number(value)
  if (!(number > 0)) throw new TypeError(`--${name} must be a number above zero`)
  return number
}
