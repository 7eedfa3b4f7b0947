// prisma/lean-client.mjs changes what `prisma generate` wrote; what Prisma does with it must stay the same.
import { readFileSync } from 'node:fs'
import { expect, test, vi } from 'vitest'
import { createTestDatabase } from '#test/support/database.ts'

const compiler: string = '@prisma/client/runtime/query_compiler_small_bg.postgresql.mjs' // it has no types
const generated = readFileSync(new URL('../../src/db/generated/internal/class.ts', import.meta.url), 'utf8')

test('a query that differs in its values alone is compiled once: Prisma finds its parameters by the names that moved', async () => {
  const { database, drop } = await createTestDatabase()
  try {
    const { QueryCompiler } = (await import(compiler)) as { QueryCompiler: { prototype: { compile(): unknown } } }
    const compiled = vi.spyOn(QueryCompiler.prototype, 'compile')
    const ask = (name: string, kind: 'optional' | 'required') =>
      database.prisma.role.findMany({
        where: { name: { startsWith: name }, secondFactor: kind, users: { some: { user: { email: { in: [name] } } } } },
        include: { permissions: { where: { permission: { not: name } } } },
        take: 3,
      })
    await ask('one', 'optional')
    const first = compiled.mock.calls.length
    await ask('another', 'required')
    expect([first, compiled.mock.calls.length]).toEqual([1, 1])
  } finally {
    await drop()
  }
})

test('the names begin where V8 keeps an object with number keys as a table, and no WebAssembly comes as text', () => {
  const names = JSON.parse(JSON.parse(/strings: JSON\.parse\((".*")\)/.exec(generated)?.[1] ?? '')) as string[]
  expect(names.findIndex((name) => name !== '')).toBe(1024)
  expect(generated).not.toContain('wasm-base64')
})
