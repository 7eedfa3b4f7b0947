// How far long work is: for a terminal alone, one line that is written over, gone at the end.
import { expect, test } from 'vitest'
import { createProgressLine } from '#src/cli/progress.ts'

function terminal({ isTTY = true, columns = 80 } = {}) {
  let [written, now] = ['', 0]
  const stream = { isTTY, columns, write: (text: string) => (written += text) }
  return {
    line: createProgressLine(stream, () => now),
    wait: (milliseconds: number) => (now += milliseconds),
    /** What stands on the screen: a carriage return goes back to its beginning. */
    screen: () =>
      [...written].reduce(
        ({ text, at }, letter) =>
          letter === '\r' ? { text, at: 0 } : { text: text.slice(0, at) + letter + text.slice(at + 1), at: at + 1 },
        { text: '', at: 0 },
      ).text,
    written: () => written,
  }
}

test('work of less than a second says nothing', () => {
  const { line, wait, written } = terminal()
  const progress = line.start('rows')
  for (let done = 0; done < 10; done++) {
    wait(99)
    progress(done, 10)
  }
  line.clear()
  expect(written()).toBe('')
})

test('longer work is one line that is written over, and gone at the end', () => {
  const { line, wait, screen, written } = terminal()
  const progress = line.start('rows verified')
  wait(1_000)
  progress(10_000, 20_000)
  expect(screen()).toBe('10000 of 20000 (50%) rows verified')
  wait(100)
  progress(7, 20_000) // shorter than what stands there
  expect(screen().trimEnd()).toBe('7 of 20000 (0%) rows verified')
  line.clear()
  expect(screen().trim()).toBe('')
  expect(written().endsWith('\r')).toBe(true)
  expect(written()).not.toContain('\n')
  const before = written()
  line.clear()
  expect(written()).toBe(before)
})

test('it is written ten times a second at most', () => {
  const { line, wait, written } = terminal()
  const progress = line.start('rows')
  wait(1_000)
  for (let done = 0; done < 1_000; done++) {
    wait(1)
    progress(done, 1_000)
  }
  expect(written().split('\r').length - 1).toBeLessThanOrEqual(11)
})

test('of a number that nobody knows the end of there is no share, and never more than the whole', () => {
  const { line, wait, screen } = terminal()
  const progress = line.start('lines read')
  wait(1_000)
  progress(5)
  expect(screen()).toBe('5 lines read')
  wait(100)
  progress(11, 10)
  expect(screen()).toBe('11 of 10 (100%) lines read')
})

test('a narrow terminal gets what fits: a line that breaks cannot be written over', () => {
  const { line, wait, screen } = terminal({ columns: 20 })
  const progress = line.start('rows verified')
  wait(1_000)
  progress(10_000, 20_000)
  expect(screen()).toBe('10000 of 20000 (50%')
})

test('a second work begins on an empty line', () => {
  const { line, wait, screen } = terminal()
  const first = line.start('rows')
  wait(1_000)
  first(5, 10)
  line.start('others')
  expect(screen().trim()).toBe('')
})

test.each([
  ['a pipe', terminal({ isTTY: false })],
  ['nobody', { ...terminal(), line: createProgressLine(undefined, () => 99_999) }],
])('%s gets nothing', (_, { line, wait, written }) => {
  const progress = line.start('rows')
  wait(60_000)
  progress(5, 10)
  line.clear()
  expect(written()).toBe('')
})
