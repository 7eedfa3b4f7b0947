// sallyport settings: what of the configuration is stored, and changing it. Commands see their own environment, not that of the servers: what
// is set there goes before what is stored, and the list of the console says so.
import { type Command, InvalidArgumentError } from 'commander'
import type { Config, StoredSettings } from '#src/config.ts'
import { changeSettings, describeSettings, listStored, type SettingPatch } from '#src/settings/settings.ts'
import type { CliDeps } from './deps.ts'
import { cliChange } from './input.ts'
import { printable, table } from './table.ts'

export function register(program: Command, deps: CliDeps): void {
  const settings = program.command('settings').description('the configuration, and what of it is stored')

  settings
    .command('list')
    .description('every variable, its value and where that comes from')
    .action(async () => {
      const { prisma } = await deps.openDatabase()
      show(deps.config(), await listStored(prisma))
    })

  settings
    .command('set')
    .description('stores values; in force in every process within a second')
    .argument('<name=value...>', 'such as SIGN_UP=open', collectPairs)
    .action(async (patch: SettingPatch) => {
      const { prisma } = await deps.openDatabase()
      show(deps.config(), await changeSettings(prisma, deps.config(), patch, cliChange(deps)), patch)
    })

  settings
    .command('unset')
    .description('takes away what is stored: the default is in force again')
    .argument('<name...>', 'such as SIGN_UP')
    .action(async (names: string[]) => {
      const { prisma } = await deps.openDatabase()
      const patch = Object.fromEntries(names.map((name) => [name, null]))
      show(deps.config(), await changeSettings(prisma, deps.config(), patch, cliChange(deps)), patch)
    })

  function show(config: Config, stored: StoredSettings, only?: SettingPatch): void {
    const shown = describeSettings(config, stored).data.filter(({ name }) => !only || Object.hasOwn(only, name))
    const rows = shown.map(({ name, value, source, secret, given }) => [
      name,
      secret && given ? '(secret)' : brief(value ?? '-'),
      source,
    ])
    deps.out(shown, table(['name', 'value', 'source'], rows, ''))
  }
}

/** A style sheet is not a cell. */
const brief = (value: string): string =>
  value.length > 200 || value.includes('\n') ? `${value.length} characters` : printable(value)

function collectPairs(pair: string, before: SettingPatch = {}): SettingPatch {
  const at = pair.indexOf('=')
  const name = pair.slice(0, at)
  if (at < 1) throw new InvalidArgumentError('Write NAME=VALUE.')
  if (Object.hasOwn(before, name)) throw new InvalidArgumentError(`${name} is there twice.`)
  return { ...before, [name]: pair.slice(at + 1) }
}
