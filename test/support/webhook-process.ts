// A process that sends webhooks as the server does: `node webhook-process.ts`, told everything by its environment. The tests kill it.
import { readConfig } from '#src/config.ts'
import { openDatabase } from '#src/db/database.ts'
import { createSchedule } from '#src/jobs/schedule.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { createLog } from '#src/log.ts'
import { createWebhookSender } from '#src/webhooks/sender.ts'

const config = readConfig()
const database = openDatabase(config.databaseUrl ?? '', { poolSize: 4, onError: () => undefined })
const log = createLog(config)
const now = () => new Date()
const secretKeys = createSecretKeys(config.secretKeys ?? [])
const sender = createWebhookSender({ database, secretKeys, networks: config.webhookNetworks, log, now })
createSchedule({
  database,
  log,
  now,
  random: () => 0,
  jobs: [{ name: 'webhooks', everySeconds: 0.1, isDue: sender.isDue, run: ({ signal }) => sender.run(signal) }],
}).start()
log.info({ event: 'test.started' })
