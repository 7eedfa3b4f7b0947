// The hash itself: `node hasher.ts PORT`, then GET /run?hash=…&password=…&seconds=… answers with verifications a second.
import { createServer } from 'node:http'
import argon2 from 'argon2'

const atOnce = 2 // keeps the core busy while one hands over

const server = createServer(async (request, response) => {
  const query = new URL(request.url ?? '/', 'http://localhost').searchParams
  const hash = query.get('hash')
  if (!hash) return response.end()
  const end = performance.now() + Number(query.get('seconds')) * 1000
  const begun = performance.now()
  let count = 0
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (; performance.now() < end; count++)
        if (!(await argon2.verify(hash, query.get('password') ?? ''))) throw new Error('the password is another one')
    }),
  ).then(
    () => response.end(String((count * 1000) / (performance.now() - begun))),
    (error: Error) => response.writeHead(500).end(error.message),
  )
})
server.listen(Number(process.argv[2]), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
