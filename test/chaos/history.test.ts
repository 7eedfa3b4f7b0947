// The judge itself: histories that no correct server could have given are found, and those that one could have given are not.
import { describe, expect, test } from 'vitest'
import { findAnomalies, type Operation } from './history.ts'

const leeway = 1000

/** An operation from `at` on, answered after ten milliseconds. */
function did(
  at: number,
  kind: Operation['kind'],
  token: string,
  outcome: Operation['outcome'] = 'ok',
  successor?: string,
): Operation {
  return {
    kind,
    family: 1,
    token,
    type: token.startsWith('a') ? 'access' : 'refresh',
    invoked: at,
    returned: outcome === 'info' ? Infinity : at + 10,
    outcome,
    ...(successor === undefined ? {} : { successor }),
  }
}
const rotated = (at: number, token: string, successor: string) => did(at, 'rotate', token, 'ok', successor)
const rules = (...history: Operation[]) => findAnomalies(history, () => leeway).map(({ rule }) => rule)

describe('finds', () => {
  test.each<[string, Operation[]]>([
    ['two successors of one token', [rotated(0, 'r1', 'r2'), rotated(5, 'r1', 'r3')]],
    ['one successor of two tokens', [rotated(0, 'r1', 'r2'), rotated(20, 'r2', 'r3'), rotated(25, 'r4', 'r3')]],
    ['one successor of two tokens', [rotated(0, 'r1', 'r1')]],
    [
      'rotated after its successor was used',
      [rotated(0, 'r1', 'r2'), rotated(20, 'r2', 'r3'), rotated(40, 'r1', 'r2')],
    ],
    ['rotated outside the leeway', [rotated(0, 'r1', 'r2'), rotated(1011, 'r1', 'r2')]],
    ['active after it was rotated', [rotated(0, 'r1', 'r2'), did(11, 'use', 'r1')]],
    ['valid after its revocation returned', [did(0, 'revoke', 'a1'), did(11, 'use', 'a1')]],
    ['valid after its revocation returned', [did(0, 'revoke', 'r1'), did(11, 'use', 'a1')]],
    ['valid after its revocation returned', [did(0, 'revoke', 'r1'), rotated(11, 'r1', 'r2')]],
    [
      'valid after its family died of reuse',
      [rotated(0, 'r1', 'r2'), rotated(20, 'r2', 'r3'), did(40, 'rotate', 'r1', 'fail'), did(51, 'use', 'a3')],
    ],
    [
      'valid after its family died of reuse',
      [rotated(0, 'r1', 'r2'), did(1020, 'rotate', 'r1', 'fail'), rotated(1031, 'r2', 'r3')],
    ],
    ['came back to life', [did(0, 'revoke', 'a1', 'info'), did(10, 'use', 'a1', 'fail'), did(21, 'use', 'a1')]],
    ['refused without a cause', [did(0, 'rotate', 'r1', 'fail')]],
    ['refused without a cause', [did(0, 'use', 'a1', 'fail')]],
    ['refused without a cause', [did(0, 'revoke', 'a2'), did(20, 'use', 'a1', 'fail')]],
    ['refused without a cause', [rotated(0, 'r1', 'r2'), did(20, 'rotate', 'r1', 'fail')]],
    ['refused without a cause', [did(0, 'use', 'r1', 'fail'), rotated(11, 'r1', 'r2')]],
  ])('%s', (rule, history) => {
    expect(rules(...history)).toEqual([rule])
  })

  test('a refusal that came before the revocation was sent', () => {
    expect(rules(did(0, 'use', 'a1', 'fail'), did(11, 'revoke', 'a1'))).toEqual(['refused without a cause'])
  })
})

describe('finds nothing in', () => {
  test.each<[string, Operation[]]>([
    ['a chain', [rotated(0, 'r1', 'r2'), did(11, 'use', 'a2'), rotated(20, 'r2', 'r3'), did(31, 'use', 'r3')]],
    ['a repeat within the leeway', [rotated(0, 'r1', 'r2'), rotated(1005, 'r1', 'r2')]],
    ['two rotations at once', [rotated(0, 'r1', 'r2'), rotated(5, 'r1', 'r2')]],
    [
      'a repeat while the successor is being used',
      [rotated(0, 'r1', 'r2'), rotated(20, 'r2', 'r3'), rotated(29, 'r1', 'r2')],
    ],
    ['a use while a revocation is under way', [did(0, 'revoke', 'a1'), did(9, 'use', 'a1')]],
    ['a refusal while a revocation is under way', [did(0, 'use', 'a1', 'fail'), did(9, 'revoke', 'a1')]],
    ['a revocation without an answer that happened', [did(0, 'revoke', 'r1', 'info'), did(90, 'use', 'a1', 'fail')]],
    ['a revocation without an answer that did not', [did(0, 'revoke', 'r1', 'info'), did(90, 'use', 'a1')]],
    ['a rotation without an answer that happened', [did(0, 'rotate', 'r1', 'info'), did(90, 'use', 'r1', 'fail')]],
    ['a rotation without an answer that did not', [did(0, 'rotate', 'r1', 'info'), did(90, 'use', 'r1')]],
    ['its repeat', [did(0, 'rotate', 'r1', 'info'), rotated(90, 'r1', 'r2'), rotated(110, 'r2', 'r3')]],
    [
      'a family that died of reuse',
      [
        rotated(0, 'r1', 'r2'),
        rotated(20, 'r2', 'r3'),
        did(40, 'rotate', 'r1', 'fail'),
        did(60, 'rotate', 'r3', 'fail'),
      ],
    ],
    [
      'one repeat too many',
      [...Array.from({ length: 11 }, (_, n) => rotated(n * 20, 'r1', 'r2')), did(300, 'rotate', 'r1', 'fail')],
    ],
  ])('%s', (_name, history) => {
    expect(rules(...history)).toEqual([])
  })
})

test('families are judged apart', () => {
  const other = { ...did(20, 'use', 'a1'), family: 2 }
  expect(rules(did(0, 'revoke', 'a1'), other)).toEqual([])
})
