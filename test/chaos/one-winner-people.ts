// R1, what people hold: codes of an app, recovery codes, codes from mails, invitations. The tries come from pending requests of one
// person, over both processes. Whoever loses has guessed wrong, and the limits on guessing let few of the losers be evaluated at all
// (docs/decisions/020); each trial forgets what the one before counted.
import { randomUUID } from 'node:crypto'
import { unsealMail } from '#src/mail/outbox.ts'
import { invite } from '#src/registration/invitations.ts'
import { createUser } from '#src/users/users.ts'
import { codeAt, giveRecoveryCodes, giveTotp } from '#test/support/factors.ts'
import { change } from '#test/support/installation.ts'
import { type Page, Person } from '#test/support/person.ts'
import type { Installation } from './installation.ts'
import type { Trial } from './one-winner.ts'
import { times } from './report.ts'
import type { Answer } from './traffic.ts'

const secondFactor = 'urn:sallyport:acr:2fa'

/** RFC 6238 5.2: a code is accepted once. Signed in already, so that no password is hashed: a client asks for more. */
export const appCode: Trial = (tools) =>
  atSecondFactor(tools, async ({ secretKeys, database }, userId) =>
    codeAt(await giveTotp({ secretKeys, database }, userId), new Date()),
  )

export const recoveryCode: Trial = (tools) =>
  atSecondFactor(tools, async (installation, userId) => {
    await giveTotp(installation, userId) // recovery codes stand in for something
    const [code = ''] = await giveRecoveryCodes(installation, userId)
    return code
  })

async function atSecondFactor(
  { installation, seats, findings, parallel }: Parameters<Trial>[0],
  makeCode: (installation: Installation, userId: string) => Promise<string>,
): Promise<Answer[]> {
  const { journey, database } = installation
  return seats.with(async (person) => {
    await forgetGuesses(installation)
    const code = await makeCode(installation, journey.alice.id)
    const pages: { page: Page; browser: Person }[] = []
    for (let n = 0; n < parallel; n++) {
      const browser = copyOf(person, journey.server.url)
      const { address } = await journey.begin({ acr_values: secondFactor })
      pages.push({ page: await browser.open(address), browser })
    }
    const answers = await Promise.all(
      pages.map(({ page, browser }, n) => submit(installation, n, browser, page, { code })),
    )
    const won = answers.filter(({ status }) => status === 303).length
    findings.expect(won === 1, `a second factor's code won ${won} times`)
    for (const { status } of answers)
      findings.expect([303, 401, 429].includes(status), `a used code was answered ${status}`)
    await database.prisma.credential.deleteMany({
      where: { userId: journey.alice.id, kind: { in: ['totp', 'recovery_code'] } },
    })
    return answers
  })
}

/** ASVS 6.4.1: a code from a mail is good once, in its own request. */
export const resetCode: Trial = async ({ installation, findings, parallel }) => {
  const { page, browser, code } = await askForReset(installation)
  const answers = await Promise.all(times(parallel, (n) => submit(installation, n, browser, page, { code })))
  const won = answers.filter(({ status }) => status === 303).length
  findings.expect(won === 1, `a reset code won ${won} times`)
  // 422: it is used, or the address is proven by now and a password is asked for
  for (const { status } of answers)
    findings.expect([303, 422, 429].includes(status), `a used reset code was answered ${status}`)
  return answers
}

/** CVE-2026-18963: what a proven address is good for is one new password. Each try hashes what it brings. */
export const reset: Trial = async ({ installation, findings, parallel }) => {
  const { page, browser, code } = await askForReset(installation)
  await submit(installation, 0, browser, page, { code })
  const choose = await browser.open(page.url)
  const answers = await Promise.all(
    times(parallel, (n) =>
      submit(installation, n, browser, choose, { password: `nine purple walruses ${randomUUID()}` }),
    ),
  )
  const won = answers.filter(({ status }) => status === 303).length
  findings.expect(won === 1, `a proven address changed the password ${won} times`)
  // 503: too many passwords wait to be hashed
  for (const { status } of answers)
    findings.expect([303, 422, 503].includes(status), `a second new password was answered ${status}`)
  return answers
}

/** CVE-2022-46145: an invitation makes one account. */
export const invitation: Trial = async ({ installation, findings, parallel }) => {
  const { database, secretKeys, journey } = installation
  await forgetMails(installation)
  const email = `guest-${randomUUID()}@example.com`
  await invite(database.prisma, { email }, change(), { secretKeys, signUp: 'invitation' })
  const { token } = (await newestMail(installation)) as { token: string }
  const browser = new Person(journey.server.url)
  const page = await browser.open(`/invitation/${token}`)
  const answers = await Promise.all(
    times(parallel, (n) =>
      submit(installation, n, browser, page, { name: `Guest ${n}`, password: `nine purple walruses ${randomUUID()}` }),
    ),
  )
  const won = answers.filter(({ status }) => status === 200).length
  const accounts = await database.prisma.user.count({ where: { email } })
  findings.expect(won === 1 && accounts === 1, `an invitation won ${won} times and made ${accounts} accounts`)
  for (const { status } of answers)
    findings.expect([200, 409, 410, 503].includes(status), `a used invitation was answered ${status}`)
  return answers
}

async function askForReset(installation: Installation): Promise<{ page: Page; browser: Person; code: string }> {
  const { journey, database } = installation
  await forgetGuesses(installation)
  await forgetMails(installation)
  const email = `forgetful-${randomUUID()}@example.com` // somebody else than whose sessions the other trials need
  await createUser(database.prisma, { email, emailVerified: true }, change())
  const browser = new Person(journey.server.url)
  const login = await browser.open((await journey.begin()).address)
  const form = await browser.open(login.url.replace('/login', '/recovery'))
  const page = await browser.submit(form, { email })
  const { code } = (await newestMail(installation)) as { code: string }
  return { page, browser, code }
}

/** What only its reader sees, read where it waits to be sent. */
async function newestMail({ database, secretKeys }: Installation): Promise<unknown> {
  const mail = await database.prisma.mail.findFirstOrThrow({
    where: { sealed: { not: null }, template: { in: ['recovery_code', 'invitation'] } },
    orderBy: { createdAt: 'desc' },
  })
  return unsealMail(secretKeys, { id: mail.id, sealed: mail.sealed ?? '' }).data
}

const forgetGuesses = ({ database }: Installation) => database.prisma.guessLimit.deleteMany()
const forgetMails = ({ database }: Installation) => database.prisma.mail.deleteMany()

/** A form as a browser sends it, to the process that is asked for. */
function submit(
  { traffic, journey }: Installation,
  process: number,
  browser: Person,
  page: Page,
  fields: Record<string, string>,
): Promise<Answer> {
  const csrf = /name="csrf"[^>]*value="([^"]*)"/.exec(page.text)?.[1] ?? ''
  const { pathname } = new URL(page.url)
  const cookies = [...browser.cookies].filter(([, { path }]) => path === '/' || pathname.startsWith(path))
  return traffic.send(process, {
    path: pathname,
    headers: {
      Cookie: cookies.map(([key, { value }]) => `${key.split(' ')[0]}=${value}`).join('; '),
      Origin: journey.server.url,
      Accept: 'text/html',
    },
    form: { csrf, ...fields },
  })
}

/** The same browser in another tab. */
function copyOf(person: Person, origin: string): Person {
  const copy = new Person(origin)
  for (const [name, cookie] of person.cookies) copy.cookies.set(name, cookie)
  return copy
}
