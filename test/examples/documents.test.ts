// What the documents promise and a machine can check: links lead somewhere, files that are named exist, and the files a reader is told
// to write are accepted.
import { randomBytes } from 'node:crypto'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { checkDeclaration } from '#src/declaration/check.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'

const documents = globSync(['*.md', 'docs/**/*.md'])
const read = (path: string) => readFileSync(path, 'utf8')

describe('documents', () => {
  it.each(documents)('%s: every relative link leads to a file', (document) => {
    const links = [...read(document).matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)].map((match) => match[1] ?? '')
    expect(links.filter((link) => !existsSync(join(dirname(document), link)))).toEqual([])
  })

  it.each(documents)('%s: every source file that is named exists', (document) => {
    const text = read(document)
    const whole = [...text.matchAll(/`((?:src|test|docs|examples|deploy|views|prisma)\/[\w./-]+\.\w+)`/g)].map(
      (match) => match[1] ?? '',
    )
    const inRooms = document.endsWith('architecture.md')
      ? [
          ...text.matchAll(
            /`((?:http|oauth|tokens|interaction|admin|users|factors|clients|db|cli|bootstrap|config|main|app)(?:\/[\w./-]+)?\.ts)`/g,
          ),
        ].map((match) => `src/${match[1]}`)
      : []
    expect([...whole, ...inRooms].filter((path) => !existsSync(path))).toEqual([])
  })

  it('README.md and docs/calling-an-api.md: the declarative files are accepted as they stand', () => {
    const files = ['README.md', 'docs/calling-an-api.md'].flatMap((document) =>
      [...read(document).matchAll(/^cat > sallyport\.yaml <<END\n(.*?)^END$/gms)].map((match) => match[1] ?? ''),
    )
    expect(files).toHaveLength(2)
    for (const file of files) {
      const declaration = parseDeclaration(file.replaceAll('$(openssl rand -hex 32)', randomBytes(32).toString('hex')))
      expect(checkDeclaration(declaration)).toEqual([])
    }
  })

  it('decision records are numbered without a gap and say context, decision and consequences', () => {
    const records = globSync('docs/decisions/*.md').sort()
    expect(records.map((path) => Number(/(\d{3})-/.exec(path)?.[1]))).toEqual(records.map((_path, index) => index + 1))
    for (const path of records)
      for (const part of ['**Context.**', '**Decision.**', '**Consequences.**'])
        expect(read(path), path).toContain(part)
  })
})
