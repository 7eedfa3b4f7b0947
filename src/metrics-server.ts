// /metrics, on a port of its own: what an operator reads is not on the port that strangers reach, and needs no host rule.
import { once } from 'node:events'
import { createServer } from 'node:http'

export class MetricsFailed extends Error {
  override name = 'MetricsFailed'
}

/** @param print what to answer with. Scrapes that arrive while one is being printed share it.
 *  @returns close().
 *  @throws MetricsFailed when the port cannot be opened. */
export async function serveMetrics(options: {
  host: string
  port: number
  print: () => Promise<string>
  onError: (error: unknown) => void
}): Promise<{ close(): Promise<void> }> {
  const { host, port, onError } = options
  const print = shared(options.print)
  const server = createServer(
    { maxHeaderSize: 8_192, headersTimeout: 5_000, requestTimeout: 10_000 },
    async (request, response) => {
      if (request.url?.split('?')[0] !== '/metrics') return response.writeHead(404).end()
      if (request.method !== 'GET' && request.method !== 'HEAD')
        return response.writeHead(405, { Allow: 'GET, HEAD' }).end()
      try {
        const text = await print()
        response.writeHead(200, {
          'Content-Type': 'text/plain; version=0.0.4; charset=utf-8',
          'Cache-Control': 'no-store',
        })
        response.end(text) // Node leaves the body out of an answer to HEAD
      } catch (error) {
        onError(error)
        response.writeHead(500).end()
      }
    },
  )
  server.maxConnections = 32
  try {
    server.listen({ host, port })
    await once(server, 'listening')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    throw new MetricsFailed(
      `METRICS_PORT ${port} on ${host} ${code === 'EADDRINUSE' ? 'is in use by another program' : `cannot be opened (${code})`}.`,
      { cause: error },
    )
  }
  return {
    async close() {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

function shared<T>(ask: () => Promise<T>): () => Promise<T> {
  let underWay: Promise<T> | undefined
  return () => {
    underWay ??= ask().finally(() => {
      underWay = undefined
    })
    return underWay
  }
}
