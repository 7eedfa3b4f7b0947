// What the server counts. The only file that knows prom-client: everybody else is given plain functions. Counting is always on,
// METRICS_PORT only decides whether anybody can read it (metrics-server.ts).
//
// A label is one of a list in this file: never a path, an id or a word from outside, whose number nobody bounds.
import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export type Metrics = ReturnType<typeof createMetrics>

export type QueueName = 'commit' | 'read' | 'hash'
export type UnavailableReason = 'database' | 'commit_queue' | 'hash_queue' | 'draining' | 'other'

/** Facts that the database knows, asked for at a scrape. Names of tables and algorithms are our own. */
export type DatabaseFacts = Readonly<{
  tables: readonly { table: string; bytes: number; rows: number | undefined }[]
  sweepLag: readonly { table: string; seconds: number }[]
  signingKeys: readonly { alg: string; ageSeconds: number }[]
  /** Rows of the audit record that wait to be sealed, or to be sent. */
  auditBacklog: readonly { stage: string; rows: number; seconds: number }[]
  /** By purpose, rows that an older key of SECRET_KEY seals; none before they were counted. */
  pendingSeals: readonly [purpose: string, rows: number][]
  /** What webhooks have still to tell: audit events nobody looked at yet, and deliveries. */
  webhookBacklog: readonly { stage: string; rows: number; seconds: number }[]
}>

/** Of the requests that one process answered since it started: half of them took at most so long, and 95 of a hundred. */
export type Latency = Readonly<{ requests: number; medianSeconds: number; slowSeconds: number }>

/** What one process counted, as it travels to the one that adds up. */
export type Counted = Awaited<ReturnType<Registry['getMetricsAsJSON']>>

const routes = {
  '/oauth/token': 'token',
  '/oauth/introspect': 'introspect',
  '/oauth/revoke': 'revoke',
  '/oauth/userinfo': 'userinfo',
  '/oauth/authorize': 'authorize',
  '/oauth/par': 'par',
  '/oauth/register': 'register',
  '/oauth/device': 'device',
  '/oauth/backchannel': 'backchannel',
  '/oauth/logout': 'logout',
  '/oauth/jwks': 'jwks',
  '/.well-known': 'discovery',
  '/interaction': 'interaction',
  '/device': 'device',
  '/account': 'account',
  '/admin': 'admin',
  '/api': 'api',
  '/access': 'access',
  '/authz': 'authz',
  '/d': 'receipt',
  '/assets': 'assets',
  '/healthz': 'health',
  '/readyz': 'health',
} as const

const operations = new Set([
  'authorization_code',
  'refresh_token',
  'client_credentials',
  'device_code',
  'ciba',
  'token_exchange',
  'introspection',
  'revocation',
])

/** RFC 6749 5.2, 4.1.2.1 and what the extensions we speak add to them. */
const outcomes = new Set([
  'success',
  'inactive',
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'invalid_scope',
  'invalid_target',
  'invalid_token',
  'invalid_dpop_proof',
  'use_dpop_nonce',
  'unauthorized_client',
  'unsupported_grant_type',
  'unsupported_token_type',
  'access_denied',
  'authorization_pending',
  'slow_down',
  'expired_token',
  'temporarily_unavailable',
  'server_error',
])

const requestBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const statementBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
const factsAgeMs = 2_000
const batchBuckets = [1, 2, 4, 8, 16, 32, 64, 128, 256]

export function createMetrics() {
  const registry = new Registry()
  const registers = [registry]
  // Sampling every 50 ms sees whatever matters to a request, and leaves an idle process asleep.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 50 })
  // Of several processes the worst: an average hides the one that is stuck.
  for (const metric of registry.getMetricsAsArray())
    if (metric.name.startsWith('nodejs_eventloop_lag')) Object.assign(metric, { aggregator: 'max' })

  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name, help, labelNames, registers })
  const histogram = (name: string, help: string, buckets: number[], labelNames: string[] = []) =>
    new Histogram({ name, help, buckets, labelNames, registers })

  const requests = counter('sallyport_http_requests_total', 'Requests answered, by class of route.', [
    'route',
    'status',
  ])
  const requestSeconds = histogram(
    'sallyport_http_request_duration_seconds',
    'From the request line to the end of the answer.',
    requestBuckets,
    ['route'],
  )
  const tokenOperations = counter(
    'sallyport_token_operations_total',
    'Grants, introspections and revocations; the outcome is success or the error code of the answer.',
    ['operation', 'outcome'],
  )
  const commitBatch = histogram(
    'sallyport_commit_batch_size',
    'Requests whose writes travelled in one statement.',
    batchBuckets,
  )
  const commitSeconds = histogram(
    'sallyport_commit_duration_seconds',
    'One statement, its flush to disk included.',
    statementBuckets,
  )
  const readBatch = histogram('sallyport_read_batch_size', 'Rows asked for in one statement.', batchBuckets)
  const readSeconds = histogram('sallyport_read_duration_seconds', 'One batched read.', statementBuckets)
  const hashSeconds = histogram(
    'sallyport_password_hash_duration_seconds',
    'One password hash, without its wait in the queue.',
    [0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2.5, 5, 10],
  )
  const hashRefused = counter('sallyport_password_hashes_refused_total', 'Logins refused because too many waited.')
  const hashEnded = counter(
    'sallyport_password_hashing_restarts_total',
    'Times the hashing process ended without being asked to.',
  )
  const guessesLimited = counter(
    'sallyport_guesses_limited_total',
    'Tries that were refused unseen because too many had failed, by factor.',
    ['factor'],
  )
  const requestsLimited = counter(
    'sallyport_requests_limited_total',
    'Requests of programs that were refused because there were too many, by limit.',
    ['limit'],
  )
  const unavailable = counter('sallyport_unavailable_total', 'Answers with status 503, by reason.', ['reason'])
  const propagation = histogram(
    'revocation_propagation_seconds',
    'From the commit of a revocation to its arrival in this process.',
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
  )
  const sweptRows = counter('sallyport_swept_rows_total', 'Expired rows that were removed.', ['table'])
  const sweepSeconds = histogram('sallyport_sweep_batch_duration_seconds', 'One batch of a sweep.', statementBuckets)
  const jobSeconds = histogram(
    'sallyport_job_duration_seconds',
    'Runs of scheduled work.',
    [0.01, 0.1, 1, 10, 60],
    ['job', 'outcome'],
  )

  const webhookAttempts = histogram(
    'sallyport_webhook_attempt_duration_seconds',
    'Posting one event to one endpoint, by what came of it.',
    [0.01, 0.05, 0.1, 0.5, 1, 5, 10],
    ['outcome'],
  )

  const queues = new Map<QueueName, () => number>()
  new Gauge({
    name: 'sallyport_queue_depth',
    help: 'Waiting at this moment.',
    labelNames: ['queue'],
    registers,
    collect() {
      for (const [queue, depth] of queues) this.set({ queue }, depth())
    },
  })

  // Finding a child by its labels costs more than counting: each is looked up once.
  const requestChild = remembered((key) => {
    const [route = '', status = ''] = key.split(' ')
    return requests.labels(route, status)
  })
  const secondsChild = remembered((route) => requestSeconds.labels(route))
  const tokenChild = remembered((key) => {
    const [operation = '', outcome = ''] = key.split(' ')
    return tokenOperations.labels(operation, outcome)
  })
  const unavailableChild = remembered((reason) => unavailable.labels(reason))

  return {
    /** @returns everything, in the text that Prometheus reads. */
    print: () => registry.metrics(),

    counted: (): Promise<Counted> => registry.getMetricsAsJSON(),

    /** As exact as the buckets are. @returns undefined before the first request. */
    async latency(): Promise<Latency | undefined> {
      const { values } = await requestSeconds.get()
      const upTo = (seconds: number): number =>
        values
          .filter(({ labels, metricName }) => metricName?.endsWith('_bucket') && Number(labels.le) === seconds)
          .reduce((sum, { value }) => sum + value, 0)
      const total = values
        .filter(({ metricName }) => metricName?.endsWith('_count'))
        .reduce((sum, { value }) => sum + value, 0)
      const within = (share: number): number =>
        requestBuckets.find((seconds) => upTo(seconds) >= total * share) ?? Number.POSITIVE_INFINITY
      return total === 0 ? undefined : { requests: total, medianSeconds: within(0.5), slowSeconds: within(0.95) }
    },

    /** @param path as it came from outside: it is sorted into a class here. */
    request(path: string, status: number | 'aborted', seconds: number): void {
      const route = routeClass(path)
      requestChild(`${route} ${status}`).inc()
      secondsChild(route).observe(seconds)
    },

    /** @param operation a grant type (its URN or its short name), `introspection` or `revocation`.
     *  @param outcome `success` or the error code that was answered. */
    tokenOperation(operation: string, outcome: string): void {
      const short = operation.slice(operation.lastIndexOf(':') + 1).replace('-', '_')
      tokenChild(`${operations.has(short) ? short : 'other'} ${outcomes.has(outcome) ? outcome : 'other'}`).inc()
    },

    commit(batchSize: number, seconds: number): void {
      commitBatch.observe(batchSize)
      commitSeconds.observe(seconds)
    },

    read(batchSize: number, seconds: number): void {
      readBatch.observe(batchSize)
      readSeconds.observe(seconds)
    },

    /** @param depth asked at each scrape. */
    watchQueue(queue: QueueName, depth: () => number): void {
      queues.set(queue, depth)
    },

    unavailable(reason: UnavailableReason): void {
      unavailableChild(reason).inc()
    },

    passwordHashed(seconds: number): void {
      hashSeconds.observe(seconds)
    },

    passwordHashRefused(): void {
      hashRefused.inc()
    },

    passwordHashingEnded(): void {
      hashEnded.inc()
    },

    /** @param factor a name from our own list. */
    guessLimited(factor: string): void {
      guessesLimited.inc({ factor })
    },

    /** @param limit a name from our own list. */
    requestLimited(limit: string): void {
      requestsLimited.inc({ limit })
    },

    revocationArrived(seconds: number): void {
      propagation.observe(seconds)
    },

    /** @param job a name from our own list. */
    jobRun(job: string, outcome: 'done' | 'failed' | 'stopped', seconds: number): void {
      jobSeconds.observe({ job, outcome }, seconds)
    },

    webhookAttempted(outcome: 'delivered' | 'failed' | 'given_up', seconds: number): void {
      webhookAttempts.observe({ outcome }, seconds)
    },

    /** @param table a name from our own list. */
    swept(table: string, rows: number, seconds: number): void {
      sweptRows.inc({ table }, rows)
      sweepSeconds.observe(seconds)
    },

    /** @param ask asked at a scrape, at most once in `factsAgeMs`. While it fails there are no figures, not old ones. */
    watchDatabase(ask: () => Promise<DatabaseFacts>): void {
      const facts = kept(ask, factsAgeMs)
      const gauge = (
        name: string,
        help: string,
        labelName: string,
        read: (facts: DatabaseFacts) => [string, number][],
      ) =>
        new Gauge({
          name,
          help,
          labelNames: [labelName],
          registers,
          async collect() {
            this.reset()
            const known = await facts().catch(() => undefined) // the requests that failed have been counted
            if (known) for (const [label, value] of read(known)) this.set({ [labelName]: label }, value)
          },
        })
      gauge('sallyport_table_bytes', 'Size on disk, indexes included.', 'table', ({ tables }) =>
        tables.map(({ table, bytes }) => [table, bytes]),
      )
      gauge('sallyport_table_rows', 'Rows, as the statistics have it.', 'table', ({ tables }) =>
        tables.flatMap(({ table, rows }) => (rows === undefined ? [] : [[table, rows]])),
      )
      gauge('sallyport_sweep_lag_seconds', 'For how long the oldest removable row waits.', 'table', ({ sweepLag }) =>
        sweepLag.map(({ table, seconds }) => [table, seconds]),
      )
      gauge('sallyport_webhook_backlog_rows', 'What webhooks have still to tell.', 'stage', ({ webhookBacklog }) =>
        webhookBacklog.map(({ stage, rows }) => [stage, rows]),
      )
      gauge(
        'sallyport_webhook_backlog_seconds',
        'For how long the oldest of it waits.',
        'stage',
        ({ webhookBacklog }) => webhookBacklog.map(({ stage, seconds }) => [stage, seconds]),
      )
      gauge(
        'sallyport_audit_backlog_rows',
        'Audit rows that wait to be sealed, or sent.',
        'stage',
        ({ auditBacklog }) => auditBacklog.map(({ stage, rows }) => [stage, rows]),
      )
      gauge('sallyport_audit_backlog_seconds', 'For how long the oldest of them waits.', 'stage', ({ auditBacklog }) =>
        auditBacklog.map(({ stage, seconds }) => [stage, seconds]),
      )
      gauge('sallyport_signing_key_age_seconds', 'Since the key began to sign.', 'alg', ({ signingKeys }) =>
        signingKeys.map(({ alg, ageSeconds }) => [alg, ageSeconds]),
      )
      gauge(
        'secret_key_rows_pending',
        'Rows that are sealed under an older key of SECRET_KEY, which may not be dropped before they are none.',
        'purpose',
        ({ pendingSeals }) => [...pendingSeals],
      )
    },
  }
}

/** The class of a path: of the two of its beginnings that can name one. Everything that nobody routes is `other`. */
export function routeClass(path: string): string {
  const second = path.indexOf('/', 1)
  if (second === -1) return known.get(path) ?? 'other'
  const third = path.indexOf('/', second + 1)
  return known.get(third === -1 ? path : path.slice(0, third)) ?? known.get(path.slice(0, second)) ?? 'other'
}

const known: ReadonlyMap<string, string> = new Map(Object.entries(routes))

/** @returns the sum, in the text that Prometheus reads: counts are added, of delays the worst counts. */
export function printSum(counted: readonly Counted[]): Promise<string> {
  return AggregatorRegistry.aggregate([...counted]).metrics()
}

/** Of what a process counted before it ended, the part that must not be forgotten: a counter that falls reads as a restart. */
export async function totalsOf(counted: readonly Counted[]): Promise<Counted> {
  const totals = counted.map((metrics) => metrics.filter(({ type }) => ['counter', 'histogram'].includes(String(type))))
  return AggregatorRegistry.aggregate(totals).getMetricsAsJSON()
}

function kept<T>(ask: () => Promise<T>, forMs: number): () => Promise<T> {
  let answer: Promise<T> | undefined
  let askedAt = 0
  return () => {
    if (!answer || performance.now() - askedAt > forMs) {
      askedAt = performance.now()
      answer = ask()
    }
    return answer
  }
}

function remembered<T>(make: (key: string) => T): (key: string) => T {
  const made = new Map<string, T>()
  return (key) => {
    let found = made.get(key)
    if (!found) {
      found = make(key)
      made.set(key, found)
    }
    return found
  }
}
