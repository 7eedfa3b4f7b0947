import { describe, expect, test } from 'vitest'
import { checkRedirectUri } from '#src/clients/redirect-uris.ts'
import type { ClientType } from '#src/clients/types.ts'

const refused = (uri: string, type: ClientType = 'web') => checkRedirectUri('redirectUris[0]', uri, type)

describe('accepted', () => {
  test.each([
    ['https://app.example.com/callback'],
    ['https://app.example.com'],
    ['https://app.example.com/'],
    ['https://app.example.com:8443/cb?tenant=a&next=%20b'],
    ['https://app.example.com?tenant=a'],
    ['https://xn--bcher-kva.example/cb'],
    ['https://app.example.com/a;b=c/d'],
    ['http://localhost:4000/callback'],
    ['http://127.0.0.1/cb'],
    ['http://[::1]:9000/cb'],
  ])('%s for every type with a browser', (uri) => {
    for (const type of ['web', 'spa', 'native'] as const) expect(refused(uri, type)).toEqual([])
  })
  test.each([['com.example.app:/callback'], ['com.example.app://callback/done'], ['com.example-app.x:/cb?a=b']])(
    '%s for native (RFC 8252 7.1)',
    (uri) => expect(refused(uri, 'native')).toEqual([]),
  )
})

describe('refused for every type, with the field and a fix', () => {
  test.each([
    ['https://*.example.com/cb', 'wildcard'],
    ['https://app.example.com/*', 'wildcard'],
    ['https://app.example.com/cb#frag', 'fragment'],
    ['https://app.example.com/cb#', 'fragment'],
    ['http://localhost:80@evil.example/cb', 'user name'], // CVE-2024-8883
    ['https://good.example@evil.example/cb', 'user name'],
    ['https://@evil.example/cb', 'user name'],
    ['https://user:pw@app.example.com/cb', 'user name'],
    ['https://app.example.com/cb/..%2f', 'hides'], // CVE-2024-1132
    ['https://app.example.com/cb/%252e%252e/admin', 'hides'], // CVE-2022-3782
    ['https://app.example.com/cb/%2e%2e/admin', 'hides'],
    ['https://app.example.com/cb/..;/admin', 'dot segment'], // CVE-2026-3872
    ['https://app.example.com/cb/..%3b/admin', 'hides'],
    ['https://app.example.com/cb/../admin', 'dot segment'],
    ['https://app.example.com/./cb', 'dot segment'],
    ['https://app.example.com/cb/..', 'dot segment'],
    ['https://app.example.com/a%5cb', 'hides'],
    ['https://app.example.com/cb%00', 'hides'],
    ['https://app.example.com/cb?x=%0d%0aSet-Cookie:a', 'control'],
    ['https://app.example.com/c b', 'characters'],
    ['https://app.example.com/cb\n', 'characters'],
    ['https://app.example.com/cb\0', 'characters'],
    ['https://app.example.com\\@evil.example/', 'characters'],
    ['https://bücher.example/cb', 'characters'],
    ['https://app.example.com/cb%', 'characters'],
    ['https://app.example.com/cb%zz', 'characters'],
    ['https://APP.example.com/cb', 'normal form'],
    ['HTTPS://app.example.com/cb', 'host'],
    ['https://app.example.com:443/cb', 'normal form'],
    ['https://0x7f.0.0.1/cb', 'normal form'],
    ['https://app.example.com./cb', 'ambiguous'],
    ['https:///app.example.com/cb', 'host'],
    ['https:app.example.com/cb', 'host'],
    ['//app.example.com/cb', 'absolute'],
    ['/cb', 'absolute'],
    ['app.example.com/cb', 'absolute'],
    ['', 'characters'],
    ['http://app.example.com/cb', 'plain http'],
    ['http://localhost.evil.example/cb', 'plain http'],
    ['http://127.0.0.1.evil.example/cb', 'plain http'],
    ['http://127.0.0.2/cb', 'plain http'],
    ['http://2130706433/cb', 'normal form'],
    ['http://0.0.0.0/cb', 'plain http'],
    ['javascript:alert(1)', 'scheme'],
    ['data:text/html,x', 'scheme'],
    ['file:///etc/passwd', 'scheme'],
    ['vbscript:x', 'scheme'],
    ['about:blank', 'scheme'],
    ['blob:https://app.example.com/x', 'scheme'],
    ['ws://app.example.com/cb', 'scheme'],
    ['myapp:/cb', 'scheme'], // RFC 8252 7.1: no domain name, anybody may claim it
    ['Com.Example.App:/cb', 'scheme'],
    ['urn:ietf:wg:oauth:2.0:oob', 'scheme'], // RFC 8252: out-of-band is gone
    ['https://app.example.com/cb?code=1', 'parameter code'],
    ['https://app.example.com/cb?state=1', 'parameter state'],
    [`https://app.example.com/${'a'.repeat(2000)}`, '2000'],
  ])('%j', (uri, reason) => {
    for (const type of ['web', 'spa', 'native'] as const) {
      const [flaw, ...more] = refused(uri, type)
      expect(more).toEqual([])
      expect(flaw).toMatchObject({ field: 'redirectUris[0]', fix: expect.stringMatching(/\.$/) })
      expect(flaw?.problem).toContain(reason)
    }
  })

  test.each([['com.example.app:/../cb'], ['com.example.app:/%2e%2e/cb']])('%s for native', (uri) =>
    expect(refused(uri, 'native')).toHaveLength(1),
  )

  test('a private-use scheme for anything but native', () => {
    for (const type of ['web', 'spa'] as const) expect(refused('com.example.app:/cb', type)).toHaveLength(1)
  })
})
