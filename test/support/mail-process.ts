// A process that sends mail as the server does: `node mail-process.ts`, told everything by its environment. The tests kill it.
import { readConfig } from '#src/config.ts'
import { openDatabase } from '#src/db/database.ts'
import { createSchedule } from '#src/jobs/schedule.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { createLog } from '#src/log.ts'
import { createMailSender } from '#src/mail/sender.ts'

const config = readConfig()
const database = openDatabase(config.databaseUrl ?? '', { poolSize: 2, onError: () => undefined })
const log = createLog(config)
const now = () => new Date()
const sender = createMailSender({ database, secretKeys: createSecretKeys(config.secretKeys ?? []), config, log, now })
createSchedule({
  database,
  log,
  now,
  random: () => 0,
  jobs: [{ name: 'mail', everySeconds: 0.1, isDue: sender.isDue, run: ({ signal }) => sender.run(signal) }],
}).start()
