// Programs to copy, by the kind of application, each as it stands in views/code, where tests run it. What is particular to one application
// is in its environment; a page has none, so there it is filled in.
import { readFileSync } from 'node:fs'
import type { ClientSettings } from '#src/clients/settings.ts'

const folder = new URL('../../../../views/code/', import.meta.url)

const languages = {
  shell: { name: 'Shell', file: 'shell.sh' },
  javascript: { name: 'JavaScript', file: 'javascript.js' },
  typescript: { name: 'TypeScript', file: 'typescript.ts' },
  python: { name: 'Python', file: 'python.py' },
  go: { name: 'Go', file: 'go.go' },
  java: { name: 'Java', file: 'java.java' },
  rust: { name: 'Rust', file: 'rust.rs' },
  cpp: { name: 'C++', file: 'cpp.cpp' },
} as const
type Language = keyof typeof languages

const programs = {
  service: read('service', ['shell', 'typescript', 'python', 'go', 'java', 'rust']),
  'sign-in': read('sign-in', ['typescript', 'python', 'go', 'java', 'cpp', 'shell']),
  browser: read('browser', ['javascript', 'typescript']),
}

function read(kind: string, names: readonly Language[]): readonly Program[] {
  return names.map((name) => ({
    name: languages[name].name,
    id: `code-${name}`,
    text: readFileSync(new URL(`${kind}/${languages[name].file}`, folder), 'utf8'),
  }))
}

type Program = { name: string; id: string; text: string }

export type Code = {
  /** For a file named .env; undefined for a page, which has no environment. */
  environment: string | undefined
  programs: readonly Program[]
}

/** @param secret shown once; undefined: the reader has it. @returns undefined where there is nothing to show: devices are not served yet. */
export function codeFor(
  clientId: string,
  { type, redirectUris, scopes, apis }: ClientSettings,
  options: { issuer: string; secret?: string | undefined },
): Code | undefined {
  const { issuer, secret } = options
  const [api] = Object.entries(apis)
  const values = {
    ISSUER_URL: issuer,
    CLIENT_ID: clientId,
    ...((type === 'web' || type === 'service') && { CLIENT_SECRET: secret ?? '…' }),
    ...(type !== 'service' && { REDIRECT_URI: redirectUris[0] ?? '' }),
    SCOPE: type === 'service' ? (api?.[1] ?? []).join(' ') : scopes.join(' '),
    ...(type === 'service' && { API_IDENTIFIER: api?.[0] ?? '', API_URL: api?.[0] ?? '' }),
  }
  if (type === 'device') return undefined
  if (type === 'spa') return { environment: undefined, programs: programs.browser.map((one) => fillIn(one, values)) }
  const lines = Object.entries(values).map(([name, value]) => `${name}=${quoted(value)}`)
  return { environment: lines.join('\n'), programs: programs[type === 'service' ? 'service' : 'sign-in'] }
}

/** For a shell, whatever the value. */
const quoted = (value: string): string => `'${value.replaceAll("'", `'\\''`)}'`

/** Into literals of a program. What an address may hold besides is escaped. */
function fillIn(program: Program, values: Record<string, string>): Program {
  const text = Object.entries(values).reduce(
    (filled, [name, value]) =>
      filled.replaceAll(`'${name}'`, () => `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`),
    program.text,
  )
  return { ...program, text }
}
