// A process that runs one long job under the schedule: `node schedule-process.ts DATABASE_URL SECONDS`. Prints "begun" when it got
// the job, "overtaken" when it noticed that it lost it. The tests kill and freeze it.
import { setTimeout as delay } from 'node:timers/promises'
import { closeDatabase, openDatabase } from '#src/db/database.ts'
import { createSchedule } from '#src/jobs/schedule.ts'
import { createLog } from '#src/log.ts'

const [, , url = '', seconds = ''] = process.argv
const database = openDatabase(url, { poolSize: 2, onError: () => undefined })
const schedule = createSchedule({
  database,
  log: createLog({ logLevel: 'silent' }),
  now: () => new Date(),
  lockSilenceSeconds: 1,
  random: () => 0,
  jobs: [
    {
      name: 'long',
      everySeconds: 0.1,
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
