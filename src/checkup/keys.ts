// Signing keys and SECRET_KEY.
import { droppableFrom, readSealing } from '#src/keys/seal-rotation.ts'
import { signingAlgorithms } from '#src/keys/signer.ts'
import { listSigningKeys } from '#src/keys/signing-keys.ts'
import { type Check, day } from './finding.ts'

/** Where nothing rotates by itself. */
const yearDays = 365
/** The schedule tries every ten minutes. */
const lateDays = 2

export const signingKeys: Check = {
  name: 'signing-keys',
  about: 'age of signing keys',
  async look({ database, config: { signingKeyRotationDays: days }, now }) {
    const keys = await listSigningKeys(database)
    const at = now().getTime()
    return {
      said: signingAlgorithms.flatMap((alg): Awaited<ReturnType<Check['look']>>['said'] => {
        const current = keys.find((key) => key.alg === alg && key.state === 'current')
        if (!current) return [] // a start makes what is missing, and does not listen without it
        const subject = { kind: 'signing_key', id: current.kid } as const
        const section = 'RFC 9700 2.6, NIST SP 800-57 part 1, 5.3'
        const age = (at - (current.activatedAt ?? current.createdAt).getTime()) / day
        if (age > (days > 0 ? days + lateDays : yearDays))
          return [
            {
              severity: 'warning',
              subject,
              what: `The ${alg} key has signed for ${Math.floor(age)} days${days > 0 ? `; SIGNING_KEY_ROTATION_DAYS is ${days}` : ', and SIGNING_KEY_ROTATION_DAYS is 0'}.`,
              why: 'The longer a key signs, the more a copy of it is worth, and the less anybody knows whether changing it works.',
              section,
              fix: 'sallyport keys rotate, or one request to /api/v1/keys/rotate. Where it should have been done by itself, look for job.failed in the log.',
            },
          ]
        if (!keys.some((key) => key.alg === alg && key.state === 'next'))
          return [
            {
              severity: 'warning',
              subject,
              what: `No ${alg} key is announced to follow it.`,
              why: 'If this one leaked, verifiers would meet a key they have never seen.',
              section,
              fix: 'Restart the server: it makes what is missing.',
            },
          ]
        return []
      }),
    }
  },
}

export const secretKey: Check = {
  name: 'secret-key',
  about: 'old keys in SECRET_KEY',
  async look({ database, secretKeys, config: { sessionTtlSeconds }, now }) {
    const old = secretKeys.fingerprints.length - 1
    if (old === 0) return { said: [] }
    const sealing = await readSealing(database)
    const from = droppableFrom(sealing, secretKeys, sessionTtlSeconds)
    const why = 'A key that leaked opens whatever is sealed under it, and signs cookies, until it is gone.'
    const section = 'ASVS 13.3.4'
    if (from && from <= now())
      return {
        said: [
          {
            severity: 'warning',
            what: `SECRET_KEY holds ${old === 1 ? 'an old key that nothing needs' : `${old} old keys that nothing needs`}.`,
            why,
            section,
            fix: 'Take everything behind the first comma from SECRET_KEY, and restart.',
          },
        ],
      }
    const pending = Object.values(sealing.pending ?? {}).reduce((sum, rows) => sum + rows, 0)
    return {
      said: [
        {
          severity: 'note',
          what: from
            ? `Nothing in the database needs the old key of SECRET_KEY; cookies may, until ${from.toISOString()}.`
            : sealing.newest === secretKeys.fingerprints[0] && pending > 0
              ? `${pending} rows wait to be sealed anew under the first key of SECRET_KEY.`
              : 'SECRET_KEY holds several keys, and the first does not seal yet, or nobody has counted.',
          why,
          section,
          fix: 'sallyport keys secret status says when the old one may go; docs/keys.md has the steps.',
        },
      ],
    }
  },
}
