// "Firefox on Windows": a browser in words, for lists of devices and for mails. What it says of itself is a hint, not a proof.
import Bowser from 'bowser'
import type { Translator } from './words.ts'

export type Device = { name: string; icon: 'phone' | 'monitor' }

export function nameBrowser({ t }: Translator, userAgent: string | null | undefined): Device {
  const { browser, os, platform } = userAgent ? Bowser.parse(userAgent) : { browser: {}, os: {}, platform: {} }
  const icon = platform.type === 'mobile' || platform.type === 'tablet' ? 'phone' : 'monitor'
  const system = /^iP(hone|ad)$/.test(platform.model ?? '') ? platform.model : os.name
  if (browser.name && system) return { name: t('account.device', { browser: browser.name, system }), icon }
  return { name: browser.name || system || t('account.device.unknown'), icon } // Bowser leaves some empty
}
