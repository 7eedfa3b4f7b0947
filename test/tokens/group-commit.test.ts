// The queue in front of the commit, with a database that answers when the test says so.
import { describe, expect, test, vi } from 'vitest'
import { CommitQueueFull, createGroupCommit } from '#src/tokens/group-commit.ts'
import type { Verdict, Writes } from '#src/tokens/statements.ts'

type Sent = { units: readonly Writes[]; answer(verdicts?: (Verdict | undefined)[]): void; fail(error: unknown): void }

function start() {
  const sent: Sent[] = []
  const { commit } = createGroupCommit(
    (units) =>
      new Promise((resolve, reject) => {
        sent.push({ units, answer: (verdicts) => resolve(verdicts ?? units.map(() => undefined)), fail: reject })
      }),
  )
  return { sent, commit }
}

const ends = (...ids: string[]): Writes => ({ tokenEnd: ids.map((id) => ({ id })) })
const idsOf = ({ units }: Sent) => units.map((unit) => unit.tokenEnd?.map(({ id }) => id).join('+'))
const settled = () => new Promise((resolve) => setImmediate(resolve))
const refused = (code: string) => Object.assign(new Error('refused'), { code })

const proof = { id: 'r', expiresAt: null, payload: {} }
const agreement = { userId: 'u', clientId: 'c', scopes: [], resourceScopes: {} }

describe('company', () => {
  test('a commit leaves at once when nothing is under way', () => {
    const { sent, commit } = start()
    void commit(ends('a'))
    expect(sent.map(idsOf)).toEqual([['a']])
  })

  test('what arrives while two are under way leaves together when one returns, in the order of arrival', async () => {
    const { sent, commit } = start()
    for (const id of ['a', 'b', 'c', 'd', 'e']) void commit(ends(id))
    expect(sent.map(idsOf)).toEqual([['a'], ['b']])
    sent[0]?.answer()
    await settled()
    expect(sent.map(idsOf)).toEqual([['a'], ['b'], ['c', 'd', 'e']])
  })

  test('each request hears its own verdict', async () => {
    const { sent, commit } = start()
    const answers = ['a', 'b', 'c', 'd'].map((id) => commit(ends(id)))
    sent[0]?.answer(['gone'])
    await settled()
    sent[1]?.answer()
    sent[2]?.answer([undefined, 'reused'])
    await expect(Promise.all(answers)).resolves.toEqual(['gone', undefined, undefined, 'reused'])
  })
})

describe('neighbours', () => {
  test('requests that touch the same row never travel together, nor at the same time', async () => {
    const { sent, commit } = start()
    for (let i = 0; i < 3; i++) void commit(ends('same'))
    void commit(ends('other'))
    expect(sent.map(idsOf)).toEqual([['same'], ['other']])
    sent[1]?.answer()
    await settled()
    expect(sent).toHaveLength(2) // the row is still under way
    sent[0]?.answer()
    await settled()
    expect(sent.slice(2).map(idsOf)).toEqual([['same']])
  })

  test('nobody overtakes a request that waits for the same row', async () => {
    const { sent, commit } = start()
    void commit(ends('x'))
    void commit(ends('y'))
    void commit(ends('x', 'z')) // waits for x
    void commit(ends('z')) // came later than the one before, which wants z too
    sent[1]?.answer()
    await settled()
    expect(sent.map(idsOf)).toEqual([['x'], ['y']])
    sent[0]?.answer()
    await settled()
    expect(sent.slice(2).map(idsOf)).toEqual([['x+z']])
    sent[2]?.answer()
    await settled()
    expect(sent.slice(3).map(idsOf)).toEqual([['z']])
  })

  test.each([
    ['a code and its predecessor', { consume: [consumption('\\x02', '\\x01')] }, { tokenEnd: [{ id: '\\x01' }] }],
    ['a grant', { grantEnd: [{ id: 'g', ends: true }] }, { grantEnd: [{ id: 'g', ends: false }] }],
    ['a session by its cookie', { sessionEnd: [{ cookieHash: '\\x0c' }] }, { sessionEnd: [{ cookieHash: '\\x0c' }] }],
    ['an interaction', { interactionEnd: [{ id: 'i', once: true }] }, { interactionEnd: [{ id: 'i', once: true }] }],
    ['a proof', { replay: [proof] }, { replay: [proof] }],
    ['a consent', { consent: [agreement] }, { consent: [agreement] }],
  ] as [string, Writes, Writes][])('%s is such a row', (_name, one, another) => {
    const { sent, commit } = start()
    void commit(one)
    void commit(another)
    expect(sent).toHaveLength(1)
  })

  test('a statement that is refused is tried again with each request alone: only the bad one fails', async () => {
    const { sent, commit } = start()
    const [, , good, bad, last] = ['a', 'b', 'good', 'bad', 'last'].map((id) => commit(ends(id)))
    bad?.catch(() => undefined)
    sent[0]?.answer()
    await settled()
    sent[2]?.fail(refused('23505'))
    await settled()
    expect(sent.slice(3).map(idsOf)).toEqual([['good']])
    sent[3]?.answer()
    await settled()
    sent[4]?.fail(refused('23505'))
    await settled()
    sent[5]?.answer()
    await expect(good).resolves.toBeUndefined()
    await expect(bad).rejects.toMatchObject({ code: '23505' })
    await expect(last).resolves.toBeUndefined()
  })

  test('a deadlock with another process is tried again, several times, then it is unavailable', async () => {
    const { sent, commit } = start()
    const answer = commit(ends('a'))
    for (let tried = 0; tried < 3; tried++) {
      await vi.waitFor(() => expect(sent).toHaveLength(tried + 1))
      sent[tried]?.fail(refused('40P01'))
    }
    await vi.waitFor(() => expect(sent).toHaveLength(4))
    sent[3]?.answer()
    await expect(answer).resolves.toBeUndefined()

    const unlucky = commit(ends('a'))
    unlucky.catch(() => undefined)
    for (let tried = 4; tried < 11; tried++) {
      await vi.waitFor(() => expect(sent).toHaveLength(tried + 1))
      sent[tried]?.fail(refused('40P01'))
    }
    await expect(unlucky).rejects.toMatchObject({ name: 'CommitContended', code: '53300' })
    expect(sent).toHaveLength(11)
  })
})

describe('a database that is away or too slow', () => {
  test('refuses those who wait along with those under way, and is asked again by whoever comes next', async () => {
    const { sent, commit } = start()
    const answers = ['a', 'b', 'c'].map((id) => commit(ends(id)))
    for (const answer of answers) answer.catch(() => undefined)
    sent[0]?.fail(refused('57P01'))
    await expect(answers[0]).rejects.toMatchObject({ code: '57P01' })
    await expect(answers[2]).rejects.toMatchObject({ code: '57P01' })
    const next = commit(ends('d'))
    expect(sent.map(idsOf)).toEqual([['a'], ['b'], ['d']])
    sent[2]?.answer()
    await expect(next).resolves.toBeUndefined()
  })

  test('more than two thousand waiting are refused at once, as unavailable', async () => {
    const { commit } = start()
    for (let i = 0; i < 2_002; i++) void commit(ends(String(i)))
    await expect(commit(ends('one too many'))).rejects.toThrow(CommitQueueFull)
    await expect(commit(ends('one too many'))).rejects.toMatchObject({ code: '53300' })
  })
})

function consumption(id: string, predecessorId: string) {
  return { id, predecessorId, successorId: null, leeway: 0, address: null, userAgent: null, requestId: null }
}
