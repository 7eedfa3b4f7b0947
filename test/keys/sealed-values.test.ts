// The list of what is sealed is whole: every use of seal() has its line there, and every line its use.
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { passingSeals, sealedPlaces } from '#src/keys/sealed-values.ts'

const root = join(import.meta.dirname, '../..')

/** @returns the purpose of every value that is sealed in a file, `?` where it cannot be read off. */
function purposesIn(path: string, text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
  const constant = (name: string) => new RegExp(`\\bconst ${name} = '([^']+)'`).exec(code)?.[1]
  const found = [...code.matchAll(/(\w+)\.seal\(\s*(?:'([^']+)'|(\w+))?/g)].flatMap(([, on = '', literal, name]) =>
    // The sign-in has a seal of its own over the one here (interaction/sign-in.ts), with one purpose.
    on === 'signIn' ? [] : [on === 'secretKeys' ? (literal ?? constant(name ?? '') ?? '?') : '?'],
  )
  const isTaken = /\{[^{}]*\bseal\b[^{}]*\}\s*=/.test(code) // under another name nobody would find it
  return [...found, ...(isTaken ? ['?'] : [])].map((purpose) => (purpose === '?' ? `? in ${path}` : purpose))
}

const files = globSync('src/**/*.ts', { cwd: root, exclude: ['src/db/generated/**', 'src/keys/secret-key.ts'] })

test('every use of seal() is in the list', () => {
  const used = files.flatMap((path) => purposesIn(path, readFileSync(join(root, path), 'utf8')))
  expect(used.length).toBeGreaterThan(10)
  // keys/seal-rotation.ts seals whatever the list says.
  const listed = new Set([...sealedPlaces.map(({ purpose }) => purpose), ...Object.keys(passingSeals)])
  expect(new Set(used.filter((purpose) => purpose !== '? in src/keys/seal-rotation.ts'))).toEqual(listed)
})

test.each([
  ['another purpose', `secretKeys.seal('new', id, text)`, ['new']],
  ['over two lines', `secretKeys.seal(\n  'new',\n  id, text)`, ['new']],
  ['a constant', `const sealPurpose = 'new'\nsecretKeys.seal(sealPurpose, id, text)`, ['new']],
  ['one that is computed', `secretKeys.seal(purpose(), id, text)`, ['? in a.ts']],
  ['another name for the keys', `keys.seal('new', id, text)`, ['? in a.ts']],
  ['the function alone', `const { seal } = secretKeys`, ['? in a.ts']],
  ['nothing in a comment', `// secretKeys.seal('new', id, text)`, []],
])('the check finds %s', (_what, text, purposes) => {
  expect(purposesIn('a.ts', text)).toEqual(purposes)
})
