// A template is compiled when it is shown first: one that cannot be would be found by a visitor.
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Eta } from 'eta'
import { expect, test } from 'vitest'

const folder = join(import.meta.dirname, '../../views')
const names = globSync('**/*.eta', { cwd: folder })

test('there are templates', () => {
  expect(names).toContain('layout.eta')
})

test.each(names)('%s can be compiled', (name) => {
  expect(() => new Eta().compile(readFileSync(join(folder, name), 'utf8'))).not.toThrow()
})
