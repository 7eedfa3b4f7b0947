// What docs/threat-model.md says of the tests is so.
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const threats = readFileSync(join(root, 'docs/threat-model.md'), 'utf8')

test('every test that the threat model names is there, and each hostile one is named', () => {
  const named = new Set([...threats.matchAll(/`(test\/[\w./-]+)`/g)].map(([, path]) => path ?? ''))
  expect(named.size).toBeGreaterThan(40)
  expect([...named].filter((path) => !existsSync(join(root, path)))).toEqual([])
  const hostile = globSync('test/hostile/*.test.ts', { cwd: root })
  expect(hostile.length).toBeGreaterThan(8)
  expect(hostile.filter((path) => !named.has(path))).toEqual([])
})

test('every fault that a test’s name claims to cover stands in the table of what broke elsewhere', () => {
  const faults = globSync('test/**/*.test.ts', { cwd: root }).flatMap((path) =>
    [...readFileSync(join(root, path), 'utf8').matchAll(/CVE-\d{4}-\d+|GHSA(?:-\w{4}){3}/g)].map(([id]) => id),
  )
  expect(faults.length).toBeGreaterThan(30)
  expect([...new Set(faults)].filter((id) => !threats.includes(id)).sort()).toEqual([])
})
