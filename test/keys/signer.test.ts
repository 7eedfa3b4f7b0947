// What a signer promises, of the one there is: signatures that whoever has the published key verifies, in the form of JWS.
import { generateKeyPairSync } from 'node:crypto'
import { compactVerify } from 'jose'
import { expect, test } from 'vitest'
import { type SigningAlgorithm, softwareSigner } from '#src/keys/signer.ts'

const pairs = {
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
}
const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

test.each(Object.keys(pairs) as SigningAlgorithm[])('%s signs as RFC 7518 3 says, many at once', async (alg) => {
  const signer = softwareSigner('k', alg, pairs[alg].privateKey.export({ format: 'jwk' }))
  const texts = Array.from({ length: 20 }, (_, n) => `${encode({ alg, kid: 'k' })}.${encode({ n })}`)
  const signatures = await Promise.all(texts.map((text) => signer.sign(Buffer.from(text))))
  for (const [n, text] of texts.entries()) {
    const jws = `${text}.${Buffer.from(signatures[n] ?? []).toString('base64url')}`
    expect((await compactVerify(jws, pairs[alg].publicKey)).protectedHeader.kid).toBe('k')
  }
  if (alg === 'ES256') for (const signature of signatures) expect(signature).toHaveLength(64)
})

test('what is published of a signer has no private half', () => {
  const signer = softwareSigner('k', 'ES256', pairs.ES256.privateKey.export({ format: 'jwk' }))
  expect(signer.publicKey.type).toBe('public')
  expect(JSON.stringify(signer)).not.toContain(pairs.ES256.privateKey.export({ format: 'jwk' }).d)
})
