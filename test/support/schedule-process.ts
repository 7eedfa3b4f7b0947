// A process that runs one long job under the schedule: `node schedule-process.ts DATABASE_URL SECONDS [EVERY_SECONDS]`, with the third word only when
// it is asked for. Prints "begun" when it got
// the job, "overtaken" when it noticed that it lost it. The tests kill and freeze it.
import { setTimeout as delay } from 'node:timers/promises'
import { closeDatabase, openDatabase } from '#src/db/database.ts'
import { createJobRecords } from '#src/jobs/records.ts'
import { createJobRequests } from '#src/jobs/requests.ts'
import { createSchedule } from '#src/jobs/schedule.ts'
import { createLog } from '#src/log.ts'

const [, , url = '', seconds = '', everySeconds] = process.argv
const now = () => new Date()
const database = openDatabase(url, { poolSize: 2, onError: () => undefined })
const schedule = createSchedule({
  database,
  log: createLog({ logLevel: 'silent' }),
  now,
  lockSilenceSeconds: 1,
  random: () => (everySeconds ? 1 : 0),
  ...(everySeconds && { records: createJobRecords(database, { now }), requests: createJobRequests(database, { now }) }),
  jobs: [
    {
      name: 'long',
      everySeconds: Number(everySeconds ?? 0.1),
      async run({ signal }) {
        console.log('begun')
        signal.addEventListener('abort', () => console.log('overtaken'))
        await delay(Number(seconds) * 1000, undefined, { signal })
      },
    },
  ],
})
schedule.start()
process.on('SIGTERM', async () => {
  await schedule.stop()
  await closeDatabase(database)
})
