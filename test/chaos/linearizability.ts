// R2: many clients on two processes rotate, use and revoke the tokens of many families at random, old tokens and new ones, and write down
// what they saw. The judge is in history.ts.
import { asking, beginFamily, openSeats } from './families.ts'
import { findAnomalies, type Operation } from './history.ts'
import { briefLeewaySeconds, clients, type Installation } from './installation.ts'
import { createFindings, quantile, type Report, times } from './report.ts'
import { type Answer, Unanswered } from './traffic.ts'

export type LinearizabilitySize = {
  operations: number
  /** Families alive at once, and clients that share them. */
  families: number
  clients: number
}

type Lineage = {
  number: number
  clientId: string
  resource: string | undefined
  refresh: string[]
  access: string[]
  /** Operations until it makes room for another. */
  left: number
  retire(): void
}

const leeways: Record<string, number> = {
  [clients.lenient]: 30_000,
  [clients.brief]: briefLeewaySeconds * 1000,
  [clients.strict]: 0,
}
const mix = [clients.lenient, clients.lenient, clients.lenient, clients.brief, clients.strict]

export async function linearizability(installation: Installation, size: LinearizabilitySize): Promise<Report> {
  const servers = await Promise.all([installation.start(0), installation.start(1)])
  const findings = createFindings()
  const seats = await openSeats(installation, size.families)
  const ask = asking(installation)
  const history: Operation[] = []
  const leewayOf: number[] = []
  const alive = new Set<Lineage>()
  installation.traffic.tally()
  const began = performance.now()

  await Promise.all([...times(size.families, keepOneAlive), ...times(size.clients, work)])

  const seconds = (performance.now() - began) / 1000
  for (const { rule, family, operation, because } of findAnomalies(history, (family) => leewayOf[family] ?? 0))
    findings.note(
      `${rule}: family ${family}, ${JSON.stringify({ ...operation, token: operation.token.slice(-12) })}, ${because}`,
    )
  const tally = installation.traffic.tally()
  for (const server of servers) await server.kill()
  const counted = (outcome: Operation['outcome']) => history.filter((operation) => operation.outcome === outcome).length
  return findings.report({
    operations: history.length,
    families: leewayOf.length,
    'ok / fail / info': `${counted('ok')} / ${counted('fail')} / ${counted('info')}`,
    'operations per second': Math.round(history.length / seconds),
    'p99 ms': quantile(
      history.filter(({ outcome }) => outcome !== 'info').map(({ invoked, returned }) => returned - invoked),
      0.99,
    ),
    answers: JSON.stringify(tally),
  })

  /** One seat: a family, and when that is over the next. */
  async function keepOneAlive(): Promise<void> {
    while (history.length < size.operations)
      await seats.with(async (person) => {
        const clientId = pick(mix)
        const jwt = Math.random() < 0.5
        const { refresh, access, resource } = await beginFamily(installation, person, { clientId, jwt })
        const number = leewayOf.push(leeways[clientId] ?? 0) - 1
        const left = 20 + Math.random() * 100
        const lineage = {
          number,
          clientId,
          resource,
          refresh: [refresh],
          access: [access],
          left,
          retire: () => undefined,
        }
        await new Promise<void>((retire) => {
          if (history.length >= size.operations) return retire() // nobody would work on it any more
          alive.add(Object.assign(lineage, { retire }))
        })
        await revoke(lineage, 'refresh', refresh, 0, 0) // the seat's next family must be the only one of its grant
      })
  }

  async function work(client: number): Promise<void> {
    while (history.length < size.operations) {
      const lineage = pick<Lineage | undefined>([...alive])
      if (!lineage) {
        await new Promise((resolve) => setTimeout(resolve, 1))
        continue
      }
      await act(lineage, client)
      if (lineage.left-- <= 0 && alive.has(lineage)) leave(lineage)
    }
    for (const lineage of alive) leave(lineage)
  }

  /** The dead are watched for a while: none may come back. */
  function isOver(lineage: Lineage): void {
    lineage.left = Math.min(lineage.left, 15)
  }

  function leave(lineage: Lineage): void {
    alive.delete(lineage)
    lineage.retire()
  }

  function act(lineage: Lineage, client: number): Promise<void> {
    const process = Math.random() < 0.5 ? 0 : 1
    const chance = Math.random()
    const { clientId } = lineage
    if (chance < 0.35) return rotate(lineage, recent(lineage.refresh), process, client)
    const type = chance < 0.5 || (chance > 0.9 && chance < 0.92) ? 'refresh' : 'access'
    const token = recent(lineage[type])
    if (chance > 0.9) {
      if (type === 'refresh') isOver(lineage)
      return revoke(lineage, type, token, process, client)
    }
    return perform({ kind: 'use', type, token, lineage, client }, async () => {
      if (type === 'access' && !lineage.resource && chance > 0.7) {
        const answer = await expectStatus(ask.userinfo(process, token), [200, 401])
        return { outcome: answer ? (answer.status === 200 ? 'ok' : 'fail') : 'info' }
      }
      const answer = await expectStatus(ask.introspect(process, clientId, token), [200])
      return { outcome: answer ? (answer.body.active === true ? 'ok' : 'fail') : 'info' }
    })
  }

  function rotate(lineage: Lineage, token: string, process: number, client: number): Promise<void> {
    const { clientId, resource } = lineage
    return perform({ kind: 'rotate', type: 'refresh', token, lineage, client }, async () => {
      const answer = await expectStatus(
        ask.refresh(process, { clientId, refresh: token, ...(resource ? { resource } : {}) }),
        [200, 400],
      )
      if (!answer) return { outcome: 'info' }
      if (answer.status === 400) {
        findings.expect(answer.body.error === 'invalid_grant', `a refresh was refused with ${answer.body.error}`)
        isOver(lineage)
        return { outcome: 'fail' }
      }
      const successor = String(answer.body.refresh_token)
      if (!lineage.refresh.includes(successor)) lineage.refresh.push(successor)
      lineage.access.push(String(answer.body.access_token))
      return { outcome: 'ok', successor }
    })
  }

  function revoke(
    lineage: Lineage,
    type: Operation['type'],
    token: string,
    process: number,
    client: number,
  ): Promise<void> {
    return perform({ kind: 'revoke', type, token, lineage, client }, async () =>
      (await expectStatus(ask.revoke(process, lineage.clientId, token), [200]))
        ? { outcome: 'ok' }
        : { outcome: 'info' },
    )
  }

  async function perform(
    { lineage, client, ...what }: Pick<Operation, 'kind' | 'type' | 'token'> & { lineage: Lineage; client: number },
    run: () => Promise<Pick<Operation, 'outcome' | 'successor'>>,
  ): Promise<void> {
    const operation: Operation = {
      ...what,
      family: lineage.number,
      invoked: performance.now(),
      returned: Infinity,
      outcome: 'info',
      note: `client ${client} of ${lineage.clientId}`,
    }
    history.push(operation) // in the order of sending, answered or not
    Object.assign(operation, await run())
    if (operation.outcome !== 'info') operation.returned = performance.now()
  }

  /** @returns undefined where nobody can say what happened: no answer, or 503. Nothing breaks here, so that is counted besides. */
  async function expectStatus(sent: Promise<Answer>, wanted: number[]): Promise<Answer | undefined> {
    try {
      const answer = await sent
      if (wanted.includes(answer.status)) return answer
      findings.note(`an answer had status ${answer.status}: ${JSON.stringify(answer.body)}`)
    } catch (error) {
      if (!(error instanceof Unanswered)) throw error
      findings.note(error.message)
    }
    return undefined
  }
}

/** Mostly the newest, sometimes the one before, seldom any other. */
function recent(tokens: readonly string[]): string {
  const chance = Math.random()
  const back = chance < 0.9 ? 1 : chance < 0.97 ? 2 : 1 + Math.floor(Math.random() * tokens.length)
  return tokens.at(-Math.min(back, tokens.length)) ?? ''
}

function pick<T>(values: readonly T[]): T {
  return values[Math.floor(Math.random() * values.length)] as T
}
