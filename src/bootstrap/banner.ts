// What a start prints for the person at the terminal. Plain ASCII. The three curl lines can be pasted as they are; they answer
// 200, 401 and 403, in that order, which is the whole idea of this server in three lines.
import type { Demo } from './demo.ts'
import type { SetupLink } from './first-administrator.ts'

export function composeBanner(
  issuerUrl: string,
  { setup, demo }: { setup: SetupLink | undefined; demo: Demo | undefined },
): string[] {
  return [
    '',
    row('Issuer', issuerUrl),
    ...consoleRows(issuerUrl, setup),
    ...(demo ? demoRows(demo) : []),
    '',
    ...(demo ? curlLines(issuerUrl, demo) : []),
  ]
}

function consoleRows(issuerUrl: string, setup: SetupLink | undefined): string[] {
  if (!setup) return [row('Console', `${issuerUrl}/admin`)]
  const until = setup.expiresAt.toISOString().slice(0, 16).replace('T', ' ')
  return [
    row('Console', `${issuerUrl}/admin/setup#code=${setup.code}`),
    row('', `works once, until ${until} UTC: it makes you the first administrator`),
  ]
}

function demoRows({ service, web, apiKey }: Demo): string[] {
  return [
    '',
    row('Demo service', `${service.clientId}   (client credentials)`),
    row('  secret', service.clientSecret),
    row('Demo web app', `${web.clientId}       (${web.redirectUri})`),
    row('  secret', web.clientSecret),
    row('Demo API key', apiKey),
  ]
}

function curlLines(issuerUrl: string, { apiKey }: Demo): string[] {
  return [
    '  Who are you, and may you do this? Allowed (200), not identified (401), not permitted (403):',
    '',
    `curl -i -H "X-API-Key: ${apiKey}" ${issuerUrl}/api/v1/clients`,
    `curl -i ${issuerUrl}/api/v1/clients`,
    `curl -i -H "X-API-Key: ${apiKey}" ${issuerUrl}/api/v1/users`,
    '',
  ]
}

function row(label: string, value: string): string {
  return `  ${label.padEnd(14)}${value}`
}
