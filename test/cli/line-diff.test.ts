import { describe, expect, test } from 'vitest'
import { lineDiff } from '#src/cli/line-diff.ts'

const numbered = (count: number, word = 'line') => Array.from({ length: count }, (_, n) => `${word} ${n}\n`).join('')

describe('a change of a text is shown by its lines', () => {
  test('what went, what came, two lines around each, and a mark for what is left out', () => {
    const to = numbered(12).replace('line 4\n', 'line four\nline 4b\n').replace('line 11\n', '')
    expect(lineDiff(numbered(12), to)).toEqual([
      '…',
      '  line 2',
      '  line 3',
      '- line 4',
      '+ line four',
      '+ line 4b',
      '  line 5',
      '  line 6',
      '…',
      '  line 9',
      '  line 10',
      '- line 11',
    ])
  })

  test('a line that moved is not a whole text that changed', () => {
    expect(lineDiff('a\nb\nc\nd\n', 'b\nc\na\nd\n')).toEqual(['- a', '  b', '  c', '+ a', '  d'])
  })

  test('what no eye sees: the end of the last line, a carriage return, what would move the cursor', () => {
    expect(lineDiff('a\n', 'a')).toEqual(['- a', '+ a (no end of line)'])
    expect(lineDiff('a\n', 'a\r\n')).toEqual(['- a', '+ a\\u{d}'])
    expect(lineDiff('a\n', '\u001b[2Ja\u202e\tb\n')).toEqual(['- a', '+ \\u{1b}[2Ja\\u{202e}\tb'])
  })

  test('two long texts of which nothing is the same: the old one, then the new one', () => {
    const diff = lineDiff(numbered(2000), numbered(2000, 'other'))
    expect([diff.length, diff[1999], diff[2000]]).toEqual([4000, '- line 1999', '+ other 0'])
  })
})
