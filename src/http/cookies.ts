// The names of every cookie. A prefix is a promise that the browser enforces (RFC 6265bis 4.1.3): `__Host-` cannot be set or read
// for another path or by a neighbouring subdomain; the engine's two path-bound cookies get `__Secure-`. On plain http
// (development on localhost) browsers refuse both prefixes, so the names stand alone there.
import type { Config } from '#src/config.ts'

export type CookieNames = Readonly<{
  session: string
  interaction: string
  resume: string
  csrf: string
  language: string
  device: string
  remembered: string
  console: string
  trial: string
}>

export function cookieNames(config: Pick<Config, 'https'>): CookieNames {
  const host = config.https ? '__Host-' : ''
  const path = config.https ? '__Secure-' : ''
  return Object.freeze({
    session: `${host}sallyport_session`,
    interaction: `${path}sallyport_interaction`,
    resume: `${path}sallyport_resume`,
    csrf: `${host}sallyport_csrf`,
    language: `${host}sallyport_language`,
    device: `${host}sallyport_device`,
    remembered: `${host}sallyport_remembered`,
    console: `${host}sallyport_console`,
    trial: `${host}sallyport_trial`,
  })
}

/** Of every cookie that we set ourselves: for no script, no other site's request and no other path. What is in them is sealed, a MAC, or no
 *  secret, so the signature of the library is not asked for. */
export const cookieAttributes = (config: Pick<Config, 'https'>) =>
  ({
    httpOnly: true,
    sameSite: 'lax',
    secure: config.https,
    path: '/',
    signed: false,
    overwrite: true,
  }) as const
