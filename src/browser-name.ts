// "Firefox on Windows": a browser in words, for lists of devices and for mails. What it says of itself is a hint, not a proof; and only
// names that are on the list of known ones are repeated, for a stranger chooses what his program says, and this ends up in a mail
// to somebody else.
import Bowser from 'bowser'
import type { Translator } from './words.ts'

export type Device = { name: string; icon: 'phone' | 'monitor' }

const browsers = new Set<string>(Object.values(Bowser.BROWSER_MAP))
const systems = new Set<string>([...Object.values(Bowser.OS_MAP), 'iPhone', 'iPad'])

export function nameBrowser({ t }: Translator, userAgent: string | null | undefined): Device {
  const { browser, os, platform } = userAgent ? Bowser.parse(userAgent) : { browser: {}, os: {}, platform: {} }
  const icon = platform.type === 'mobile' || platform.type === 'tablet' ? 'phone' : 'monitor'
  const known = (name: string | undefined, names: ReadonlySet<string>) => (name && names.has(name) ? name : undefined)
  const system = known(/^iP(hone|ad)$/.test(platform.model ?? '') ? platform.model : os.name, systems)
  const program = known(browser.name, browsers)
  if (program && system) return { name: t('account.device', { browser: program, system }), icon }
  return { name: program ?? system ?? t('account.device.unknown'), icon }
}
