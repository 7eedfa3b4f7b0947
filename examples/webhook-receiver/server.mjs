// An endpoint of Sallyport's webhooks: checks the signature, takes each event once. Nothing but Node.
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'

const secret = Buffer.from((process.env.WEBHOOK_SECRET ?? '').replace(/^whsec_/, ''), 'base64')
const seen = new Set() // ids: in earnest a table, written in the transaction of what an event leads to

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
  const body = Buffer.concat(chunks).toString() // the bytes as they came: parsed and written again they would differ
  if (!isOurs(request.headers, body)) return response.writeHead(401).end()
  const id = request.headers['webhook-id']
  if (!seen.has(id)) {
    const { type, timestamp, data } = JSON.parse(body)
    console.log(`${timestamp} ${type} ${data.target?.kind} ${data.target?.id}`)
    seen.add(id)
  }
  response.writeHead(204).end()
})
server.listen(Number(process.env.PORT ?? 4003), () =>
  console.log(`receiver on http://localhost:${server.address().port}`),
)
