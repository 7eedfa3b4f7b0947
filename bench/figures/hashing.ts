// Signing in costs a password hash and little else: logins a second beside the hashes a second that the same core does, with the
// hash of a real account of this run.

import { join } from 'node:path'
import pg from 'pg'
import { freePort } from '../arms/arms.ts'
import { password } from '../installation.ts'
import { median } from '../load.ts'
import { measure } from '../measure.ts'
import { startServerProcess } from '../processes.ts'
import { passwordLogin } from '../scenarios/code-flow.ts'
import { armOf, type FigureSource } from './figure.ts'

export const hashing: FigureSource = {
  name: 'hashing',
  async measure(run) {
    const ours = armOf(run, 'ours')
    const hash = await anyPasswordHash(ours.databaseUrl)
    const port = await freePort()
    const hasher = await startServerProcess({
      args: [join(import.meta.dirname, '../arms/hasher.ts'), String(port)],
      port,
      env: {},
      readyPath: '/',
    })
    const hashes: number[] = []
    const logins: number[] = []
    try {
      for (let round = 0; round < run.settings.rounds; round++) {
        const query = new URLSearchParams({ hash, password, seconds: String(run.settings.seconds) })
        const answer = await fetch(`http://127.0.0.1:${port}/run?${query}`)
        if (answer.status !== 200) throw new Error(await answer.text())
        hashes.push(Number(await answer.text()))
        const { lanes, seconds } = run.settings
        logins.push((await measure(passwordLogin, ours, { round, lanes, seconds, warmUpSeconds: 1 })).perSecond)
      }
    } finally {
      await hasher.stop()
    }
    const parameters = hash.split('$')[3] // PHC: $argon2id$v=19$m=…,t=…,p=…$salt$hash
    return [
      { name: 'hashesPerSecond', title: `argon2id ${parameters}, hashes a second`, value: median(hashes), unit: '/s' },
      { name: 'loginsPerSecond', title: 'password logins a second, whole flow', value: median(logins), unit: '/s' },
      {
        name: 'loginRatio',
        title: 'password logins / argon2 hashes',
        value: median(logins) / median(hashes),
        unit: '',
        goal: { atLeast: 0.8 },
      },
    ]
  },
}

async function anyPasswordHash(databaseUrl: string): Promise<string> {
  const client = new pg.Client({ connectionString: databaseUrl })
  await client.connect()
  try {
    const { rows } = await client.query<{ secret: string }>(
      `SELECT secret FROM credential WHERE kind = 'password' LIMIT 1`,
    )
    return rows[0]?.secret ?? ''
  } finally {
    await client.end()
  }
}
