// The judge of R2. It sees only what clients saw: who asked what of whom, when, and what came back. From that it says which answers no
// correct server could have given, in whatever order the requests took effect between their sending and their answer
// (linearizability, as Jepsen tests it). An operation without an answer may have happened or not, at any time after its sending.
//
// A family begins with one refresh token; each rotation of a token names its one successor (docs/decisions/006).

export type Operation = {
  kind: 'rotate' | 'use' | 'revoke'
  family: number
  token: string
  type: 'refresh' | 'access'
  /** Milliseconds on one clock. */
  invoked: number
  /** Infinity while there is no answer. */
  returned: number
  /** ok: rotated, active, revoked. fail: refused, inactive. info: nobody knows. */
  outcome: 'ok' | 'fail' | 'info'
  /** What a rotation that was ok answered. */
  successor?: string
  /** For people who read an anomaly. */
  note?: string
}

export type Anomaly = { rule: Rule; family: number; operation: Operation; because: string }

export type Rule =
  | 'two successors of one token'
  | 'one successor of two tokens'
  | 'rotated after its successor was used'
  | 'rotated outside the leeway'
  | 'active after it was rotated'
  | 'valid after its revocation returned'
  | 'valid after its family died of reuse'
  | 'came back to life'
  | 'refused without a cause'

/** How often an answer may be fetched again (docs/decisions/006). */
const maxRepeats = 10

/** @param leewayOf milliseconds, of a family. @returns one anomaly for each operation that has one. */
export function findAnomalies(history: readonly Operation[], leewayOf: (family: number) => number): Anomaly[] {
  const families = Map.groupBy(history, (operation) => operation.family)
  return [...families].flatMap(([family, operations]) => judgeFamily(operations, family, leewayOf(family)))
}

function judgeFamily(operations: readonly Operation[], family: number, leeway: number): Anomaly[] {
  const rotations = Map.groupBy(
    operations.filter(({ kind }) => kind === 'rotate'),
    ({ token }) => token,
  )
  const rotationsOf = (token: string | undefined) => (token === undefined ? [] : (rotations.get(token) ?? []))
  const predecessors = new Map<string, string>()
  const successors = new Map<string, string>()
  const anomalies: Anomaly[] = []
  const note = (rule: Rule, operation: Operation, because: string) =>
    anomalies.push({ rule, family, operation, because })

  for (const operation of operations) {
    const { token, successor } = operation
    if (successor === undefined) continue
    const known = successors.get(token)
    if (known !== undefined && known !== successor) note('two successors of one token', operation, `also ${known}`)
    const other = predecessors.get(successor)
    if (successor === token || (other !== undefined && other !== token))
      note('one successor of two tokens', operation, `also of ${other ?? token}`)
    successors.set(token, known ?? successor)
    predecessors.set(successor, other ?? token)
  }

  /** The moment by which a token was certainly rotated. */
  const rotatedBy = (token: string | undefined) =>
    Math.min(...rotationsOf(token).map(({ outcome, returned }) => (outcome === 'ok' ? returned : Infinity)))
  /** The first moment at which it may have been. */
  const rotatedFrom = (token: string | undefined, except?: Operation) =>
    Math.min(
      ...rotationsOf(token)
        .filter((operation) => operation.outcome !== 'fail' && operation !== except)
        .map(({ invoked }) => invoked),
    )

  /** This refusal certainly was one of reuse: the successor was used, or the leeway was over, before it was asked for. */
  const certainReuse = (operation: Operation) =>
    operation.kind === 'rotate' &&
    operation.outcome === 'fail' &&
    (rotatedBy(successors.get(operation.token)) < operation.invoked ||
      rotatedBy(operation.token) + leeway < operation.invoked)
  /** It may have been one. What was not answered with success may have been refused, and that for reuse. */
  const possibleReuse = (operation: Operation) =>
    operation.kind === 'rotate' &&
    operation.outcome !== 'ok' &&
    (rotatedFrom(successors.get(operation.token)) < operation.returned ||
      rotatedFrom(operation.token, operation) + leeway < operation.returned)

  const endsOf = (type: Operation['type'], token?: string) =>
    operations.filter(
      (operation) =>
        operation.kind === 'revoke' && operation.type === type && (token === undefined || operation.token === token),
    )
  const firstReturn = (some: readonly Operation[]) =>
    Math.min(...some.map(({ outcome, returned }) => (outcome === 'info' ? Infinity : returned)))
  const firstInvocation = (some: readonly Operation[]) => Math.min(...some.map(({ invoked }) => invoked))

  const familyRevokedBy = firstReturn(endsOf('refresh'))
  const familyRevokedFrom = firstInvocation(endsOf('refresh'))
  const familyReusedBy = firstReturn(operations.filter(certainReuse))
  const familyReusedFrom = firstInvocation(operations.filter(possibleReuse))
  const inactiveBy = (token: string) =>
    firstReturn(operations.filter(({ kind, outcome, token: t }) => kind === 'use' && outcome === 'fail' && t === token))

  for (const operation of operations) {
    const { kind, type, token, invoked, returned, outcome } = operation
    if (kind === 'revoke') continue
    if (outcome === 'ok') {
      const ended = Math.min(familyRevokedBy, type === 'access' ? firstReturn(endsOf('access', token)) : Infinity)
      if (ended < invoked) note('valid after its revocation returned', operation, `revoked by ${ended}`)
      else if (familyReusedBy < invoked)
        note('valid after its family died of reuse', operation, `died by ${familyReusedBy}`)
      else if (kind === 'rotate' && rotatedBy(successors.get(token)) < invoked)
        note('rotated after its successor was used', operation, `used by ${rotatedBy(successors.get(token))}`)
      else if (kind === 'rotate' && rotatedBy(token) + leeway < invoked)
        note('rotated outside the leeway', operation, `rotated by ${rotatedBy(token)}`)
      else if (kind === 'use' && type === 'refresh' && rotatedBy(token) < invoked)
        note('active after it was rotated', operation, `rotated by ${rotatedBy(token)}`)
      else if (kind === 'use' && inactiveBy(token) < invoked)
        note('came back to life', operation, `inactive by ${inactiveBy(token)}`)
    }
    if (outcome === 'fail') {
      const causes = [
        familyRevokedFrom < returned,
        familyReusedFrom < returned,
        type === 'access' && firstInvocation(endsOf('access', token)) < returned,
        kind === 'use' && type === 'refresh' && rotatedFrom(token) < returned,
        kind === 'rotate' &&
          rotationsOf(token).filter((other) => other !== operation && other.invoked < returned).length > maxRepeats,
      ]
      if (!causes.includes(true)) note('refused without a cause', operation, 'nothing ended it')
    }
  }
  return anomalies
}
