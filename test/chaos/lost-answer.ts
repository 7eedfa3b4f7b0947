// R4: the rotation is committed and its answer never arrives. The client's retry within the leeway goes on as if nothing had happened; after the
// leeway nobody can tell the client from a thief, so the family dies and the record says of what (docs/decisions/006, RFC 9700 4.14.2).
import { setTimeout as delay } from 'node:timers/promises'
import { advanced, asking, beginFamily, type Family, openSeats } from './families.ts'
import { briefLeewaySeconds, clients, type Installation, rowIdOf } from './installation.ts'
import { createFindings, type Report, times } from './report.ts'
import { Unanswered } from './traffic.ts'
import { type Moment, openWire } from './wire.ts'

export type LostAnswerSize = {
  /** Of each kind: cut after the commit, before it, many at once, retried too late. */
  each: number
  /** Families that lose their answers in the same moment. */
  atOnce: number
}

export async function lostAnswer(installation: Installation, size: LostAnswerSize): Promise<Report> {
  const { database, postgres, traffic } = installation
  const wire = await openWire(postgres.url)
  const server = await installation.start(0, { databaseUrl: wire.url })
  const findings = createFindings()
  const ask = asking(installation)
  const seats = await openSeats(installation, size.atOnce)
  traffic.tally()

  for (const moment of ['after', 'before'] as const)
    for (let n = 0; n < size.each; n++)
      await seats.with(async (person) => {
        const family = await beginFamily(installation, person)
        await loseAnswers([family], moment)
        if (moment === 'after') findings.expect((await rowOf(family)).consumed, 'the wire was cut before the commit')
        await goesOn(family, `cut ${moment} the commit`)
      })

  for (let n = 0; n < size.each; n++) {
    const taken = await Promise.all(times(size.atOnce, () => seats.take()))
    const families = await Promise.all(taken.map(({ person }) => beginFamily(installation, person)))
    await loseAnswers(families, 'after')
    await Promise.all(families.map((family) => goesOn(family, 'many cut at once')))
    for (const { leave } of taken) leave()
  }

  for (let n = 0; n < size.each; n += size.atOnce) {
    const taken = await Promise.all(times(Math.min(size.atOnce, size.each - n), () => seats.take()))
    const families: Family[] = []
    for (const { person } of taken) families.push(await beginFamily(installation, person, { clientId: clients.brief }))
    for (const family of families) await loseAnswers([family], 'after')
    await delay(briefLeewaySeconds * 1000 + 100)
    await Promise.all(families.map(dies))
    for (const { leave } of taken) leave()
  }

  const tally = traffic.tally()
  for (const [status, count] of Object.entries(tally))
    findings.expect(Number(status) < 500, `${count} answers had status ${status}`)
  await server.kill()
  await wire.close()
  return findings.report({
    'cut after the commit': size.each,
    'cut before the commit': size.each,
    'many at once': `${size.each} times ${size.atOnce}`,
    'retried after the leeway': size.each,
    answers: JSON.stringify(tally),
  })

  /** Refreshes whose sockets are cut when the first of them has come this far. */
  async function loseAnswers(families: readonly Family[], moment: Moment): Promise<void> {
    const { reached, release } = wire.hold(moment)
    const cut = new AbortController()
    const answers = families.map((family) => ask.refresh(0, family, cut.signal))
    const outcomes = Promise.allSettled(answers)
    await reached.catch((error: Error) => findings.note(error.message))
    cut.abort()
    for (const outcome of await outcomes)
      findings.expect(
        outcome.status === 'rejected' && outcome.reason instanceof Unanswered,
        'an answer arrived that was to be lost',
      )
    release()
    await delay(50) // the server goes on with what it was doing
  }

  async function rowOf({ refresh }: Family) {
    const { rows } = await database.pool.query<{
      consumed: boolean
      successor: Buffer | null
      grant: string
      ended: boolean
    }>(
      `SELECT t.consumed_at IS NOT NULL AS consumed, t.successor_id AS successor, g.id AS grant, g.revoked_at IS NOT NULL AS ended
       FROM token t JOIN oauth_grant g ON g.id = t.grant_id WHERE t.id = $1`,
      [rowIdOf(refresh)],
    )
    if (!rows[0]) throw new Error('a refresh token has no row')
    return rows[0]
  }

  async function goesOn(family: Family, when: string): Promise<void> {
    const retry = await ask.refresh(0, family)
    if (!findings.expect(retry.status === 200, `${when}: the retry got ${retry.status} ${retry.body.error}`)) return
    const next = advanced(family, retry)
    const { successor } = await rowOf(family)
    findings.expect(successor?.equals(rowIdOf(next.refresh)) ?? false, `${when}: the retry got another successor`)
    findings.expect((await ask.userinfo(0, next.access)).status === 200, `${when}: the access token does not work`)
    const after = await ask.refresh(0, next)
    findings.expect(after.status === 200, `${when}: the successor got ${after.status} ${after.body.error}`)
    await ask.revoke(0, family.clientId, String(after.body.refresh_token))
  }

  async function dies(family: Family): Promise<void> {
    const when = 'retried after the leeway'
    const late = await ask.refresh(0, family)
    findings.expect(late.body.error === 'invalid_grant', `${when}: got ${late.status} ${late.body.error}`)
    const { grant, ended } = await rowOf(family)
    findings.expect(ended, `${when}: the family lives`)
    findings.expect((await ask.userinfo(0, family.access)).status === 401, `${when}: an access token lives`)
    const recorded = await database.prisma.auditEvent.findMany({ where: { targetId: grant } })
    const events = recorded.map(({ event }) => event)
    for (const event of ['refresh.reuse_detected', 'grant.revoked'])
      findings.expect(events.includes(event), `${when}: ${event} is not on record, but ${events.join(', ')}`)
  }
}
