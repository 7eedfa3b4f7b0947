// What changed in a text of several lines, as `diff -u` shows it: a policy is read before it is applied, and two texts in quotes are not read.

/** Lines on each side of a change. */
const around = 2
/** Comparisons. Beyond it (hundreds of lines, all of them others) the old lines and then the new ones say as much. */
const most = 1_000_000

type Line = readonly [sign: ' ' | '-' | '+', text: string]

/** @returns lines that begin with `-`, `+`, a space, or `…` where equal ones are left out. Nothing in them moves the cursor of a terminal. */
export function lineDiff(from: string, to: string): string[] {
  const lines = compareLines(linesOf(from), linesOf(to))
  const changed = lines.flatMap(([sign], at) => (sign === ' ' ? [] : [at]))
  const shown = new Set(changed.flatMap((at) => Array.from({ length: 2 * around + 1 }, (_, n) => at - around + n)))
  return lines.flatMap(([sign, text], at) => {
    if (shown.has(at)) return [`${sign} ${visible(text)}`]
    return at === 0 || shown.has(at - 1) ? ['…'] : []
  })
}

/** The end of the last line is a part of the text, too. */
function linesOf(text: string): string[] {
  const lines = text.split('\n')
  const last = lines.pop() ?? ''
  return last === '' ? lines : [...lines, `${last} (no end of line)`]
}

function compareLines(from: readonly string[], to: readonly string[]): Line[] {
  let head = 0
  while (head < from.length && head < to.length && from[head] === to[head]) head++
  let tail = 0
  while (tail < Math.min(from.length, to.length) - head && from.at(-1 - tail) === to.at(-1 - tail)) tail++
  const same = (texts: readonly string[]) => texts.map((text): Line => [' ', text])
  return [
    ...same(from.slice(0, head)),
    ...compareMiddles(from.slice(head, from.length - tail), to.slice(head, to.length - tail)),
    ...same(from.slice(from.length - tail)),
  ]
}

/** By the longest common subsequence. */
function compareMiddles(from: readonly string[], to: readonly string[]): Line[] {
  if (from.length * to.length > most)
    return [...from.map((text): Line => ['-', text]), ...to.map((text): Line => ['+', text])]
  const width = to.length + 1
  const common = new Uint32Array((from.length + 1) * width)
  const at = (row: number, column: number) => common[row * width + column] ?? 0
  for (let row = from.length - 1; row >= 0; row--)
    for (let column = to.length - 1; column >= 0; column--)
      common[row * width + column] =
        from[row] === to[column] ? at(row + 1, column + 1) + 1 : Math.max(at(row + 1, column), at(row, column + 1))
  const lines: Line[] = []
  let [row, column] = [0, 0]
  while (row < from.length || column < to.length) {
    const [old, young] = [from[row], to[column]]
    if (old !== undefined && old === young) {
      lines.push([' ', old])
      row++
      column++
    } else if (old !== undefined && (young === undefined || at(row + 1, column) >= at(row, column + 1))) {
      lines.push(['-', old])
      row++
    } else {
      lines.push(['+', young ?? ''])
      column++
    }
  }
  return lines
}

function visible(text: string): string {
  return text.replace(/(?!\t)\p{C}/gu, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
}
