// What JSON.parse accepts and two readers would understand differently, or not survive: a member that comes twice (of which one of them takes the
// first and the other the last), and nesting without end (RFC 7493 2.3, AuthZEN 11.5 and 11.7).
import { quote } from '#src/refusal.ts'

const deepest = 64

/** @param text that JSON.parse has accepted. @returns what is wrong with it, in a sentence. */
export function flawOfJson(text: string): string | undefined {
  // Of each open object the names it has; of an array nothing.
  const open: (Set<string> | undefined)[] = []
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '{' || character === '[') {
      if (open.push(character === '{' ? new Set() : undefined) > deepest)
        return `The body is nested more than ${deepest} levels deep.`
    } else if (character === '}' || character === ']') open.pop()
    else if (character === '"') {
      const end = endOfString(text, at)
      const names = open.at(-1)
      if (names && isName(text, end)) {
        const name = JSON.parse(text.slice(at, end)) as string
        if (names.has(name)) return `The field ${quote(name)} comes more than once.`
        names.add(name)
      }
      at = end - 1
    }
  }
  return undefined
}

/** @returns where what follows the string begins. */
function endOfString(text: string, start: number): number {
  let at = start + 1
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at + 1
}

function isName(text: string, end: number): boolean {
  let at = end
  while (/\s/.test(text[at] ?? '')) at++
  return text[at] === ':'
}
