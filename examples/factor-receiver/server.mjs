// What stands behind FACTOR_WEBHOOK_URL: checks the signature, then passes the code on. Nothing but Node.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'

const secret = Buffer.from((process.env.FACTOR_WEBHOOK_SECRET ?? '').replace(/^whsec_/, ''), 'base64')
const seen = new Map() // ids of the last minutes: with several receivers, a table that they share

function isOurs(headers, body) {
  const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signatures = '' } = headers
  if (secret.length < 32 || !(Math.abs(Date.now() / 1000 - Number(at)) < 300)) return false
  const wanted = createHmac('sha256', secret).update(`${id}.${at}.${body}`).digest()
  const given = signatures.split(' ').map((one) => Buffer.from(one.replace(/^v1,/, ''), 'base64'))
  return given.some((one) => one.length === wanted.length && timingSafeEqual(one, wanted))
}

const server = createServer(async (request, response) => {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  const body = Buffer.concat(chunks).toString()
  if (!isOurs(request.headers, body)) return response.writeHead(401).end()
  const { data } = JSON.parse(body)
  for (const [id, until] of seen) if (until < Date.now()) seen.delete(id)
  if (!seen.has(data.id)) {
    // Here: hand it to the provider of text messages, or to the app, in the words of data.locale, and wait until it is taken.
    if (data.channel === 'sms') console.log(`to ${data.to}: ${data.code} is your code. Do not pass it on.`)
    if (data.channel === 'push') console.log(`to ${data.to}: signing in to ${data.application}? Type the number.`)
    seen.set(data.id, Date.now() + 600_000)
  }
  response.writeHead(204).end()
})
server.listen(Number(process.env.PORT ?? 4002), () =>
  console.log(`receiver on http://localhost:${server.address().port}`),
)
