// docker-compose.yml, Dockerfile and deploy/nginx.conf, read as an operator's tools would read them.
// compose-spec.schema.json is schema/compose-spec.json of the Compose Specification (https://compose-spec.io, Apache-2.0), as
// the npm package dclint 3.1.0 carries it, reformatted.
import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { readConfig } from '#src/config.ts'

type Service = {
  image?: string
  read_only?: boolean
  cap_drop?: string[]
  security_opt?: string[]
  ports?: string[]
  networks?: string[]
  environment?: Record<string, string>
  depends_on?: Record<string, { condition: string }>
  healthcheck?: { test: string[] }
}
type Compose = {
  services: Record<string, Service>
  networks: Record<string, { internal?: boolean; ipam?: { config: { subnet: string }[] } } | null>
}

const source = read('docker-compose.yml')
const compose = parse(source, { merge: true }) as Compose
const dockerfile = read('Dockerfile')
const nginx = read('deploy/nginx.conf')
const replicas = Object.entries(compose.services).filter(([name]) => name.startsWith('sallyport-'))

describe('docker-compose.yml', () => {
  const schema = JSON.parse(read('test/deploy/compose-spec.schema.json')) as Record<string, unknown>
  const { $schema: _draft7, ...rules } = schema
  const validate = new Ajv({ strict: false, validateFormats: false, allErrors: true }).compile(rules)

  it('is valid under the Compose Specification', () => {
    expect(validate(compose), JSON.stringify(validate.errors, null, 2)).toBe(true)
  })

  it('would not be valid with a misspelt key', () => {
    const { postgres, ...others } = compose.services
    expect(validate({ ...compose, services: { ...others, postgres: { ...postgres, prots: ['5432'] } } })).toBe(false)
  })

  it('runs two replicas on one database behind one proxy', () => {
    expect(replicas.map(([name]) => name)).toEqual(['sallyport-1', 'sallyport-2'])
    for (const [, service] of replicas) expect(service.depends_on?.postgres?.condition).toBe('service_healthy')
    expect(Object.keys(compose.services.proxy?.depends_on ?? {})).toEqual(['sallyport-1', 'sallyport-2'])
    expect(compose.services.postgres?.healthcheck?.test).toContain('pg_isready')
  })

  it('hardens every container: read-only, no capability dropped back in, no new privileges', () => {
    for (const [name, service] of Object.entries(compose.services))
      expect.soft(service, name).toMatchObject({
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
      })
  })

  it('publishes the proxy and, on loopback, the mail catcher; never the database or a replica', () => {
    const published = Object.entries(compose.services).filter(([, service]) => service.ports)
    expect(published.map(([name]) => name).sort()).toEqual(['mail', 'proxy'])
    expect(compose.services.mail?.ports).toEqual(['127.0.0.1:8025:8025'])
    expect(compose.networks.data?.internal).toBe(true)
    expect(compose.services.postgres?.networks).toEqual(['data'])
  })

  it('holds no secret: each comes from the environment and its absence stops the start with a sentence', () => {
    for (const name of ['SECRET_KEY', 'POSTGRES_PASSWORD']) {
      const uses = source.match(new RegExp(`\\$\\{${name}[^}]*\\}`, 'g')) ?? []
      expect(uses.length, name).toBeGreaterThan(0)
      for (const use of uses) expect(use).toMatch(/^\$\{\w+:\?set \w+ in \.env/)
    }
  })

  it('trusts forwarded addresses from the network of the proxy only', () => {
    const subnet = compose.networks.edge?.ipam?.config[0]?.subnet
    for (const [, service] of replicas) expect(service.environment?.TRUST_PROXY).toBe(subnet)
    expect(compose.services.proxy?.networks).toEqual(['edge'])
  })

  it('gives the server an environment that it accepts in production', () => {
    const values: Record<string, string> = {
      SECRET_KEY: 'q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA',
      POSTGRES_PASSWORD: 'p4',
    }
    for (const [, service] of replicas) {
      const environment = Object.entries(service.environment ?? {}).map(([name, value]) => [
        name,
        String(value).replace(/\$\{(\w+)(?::[-?]([^}]*))?\}/g, (whole, variable: string, fallback = '') =>
          whole.includes(':-') ? (values[variable] ?? fallback) : (values[variable] ?? ''),
        ),
      ])
      const config = readConfig({ NODE_ENV: 'production', ...Object.fromEntries(environment) })
      expect(config).toMatchObject({
        production: true,
        issuerUrl: 'http://localhost:3000',
        host: '0.0.0.0',
        port: 3000,
      })
    }
  })
})

describe('deploy/nginx.conf', () => {
  it('forwards to every replica of docker-compose.yml, at the port it listens on', () => {
    const upstream = [...nginx.matchAll(/^\s*server (\S+) max_fails/gm)].map((match) => match[1])
    expect(upstream).toEqual(replicas.map(([name, service]) => `${name}:${service.environment?.PORT}`))
  })

  it('logs no query string: authorization codes and id_token_hint travel there', () => {
    expect(nginx).toMatch(/log_format plain .*\$uri/)
    expect(nginx.replace(/#.*$/gm, '')).not.toMatch(/\$(request|request_uri|args|query_string|http_referer)\b/)
  })
})

describe('Dockerfile', () => {
  it('runs as a user without rights, stops on SIGTERM and reports its health', () => {
    expect(dockerfile).toMatch(/^USER 65532:65532$/m)
    expect(dockerfile).toMatch(/^STOPSIGNAL SIGTERM$/m)
    expect(dockerfile).toMatch(/^HEALTHCHECK .*\/healthz/m)
  })

  it('starts the server as `npm start` does, and compiles with the same options', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: { start: string } }
    const [node = '', ...rest] = scripts.start.replace('exec ', '').split(' ')
    const list = (name: string) =>
      JSON.parse(new RegExp(`^${name} (\\[.*\\])$`, 'm').exec(dockerfile)?.[1] ?? '') as string[]
    expect([...list('ENTRYPOINT'), ...list('CMD')]).toEqual([node, ...rest])
    const options = rest.filter((word) => word.startsWith('--')).join(' ') // Node keeps apart what other options made
    expect(dockerfile).toContain(`NODE_COMPILE_CACHE=/app/node_modules/.cache/sallyport node ${options} --input-type`)
  })

  it('pins the runtime that package.json pins', () => {
    const { devDependencies } = JSON.parse(read('package.json')) as { devDependencies: { node: string } }
    const images = [...dockerfile.matchAll(/^FROM node:([\d.]+)/gm)].map((match) => match[1])
    expect(new Set(images)).toEqual(new Set([devDependencies.node]))
  })

  it('sends the build only what the image is made of', () => {
    const allowed =
      read('.dockerignore')
        .match(/^!(.+)$/gm)
        ?.map((line) => line.slice(1)) ?? []
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+)$/gm)].flatMap((match) =>
      (match[1] ?? '').split(' ').slice(0, -1),
    )
    for (const path of copied) expect(allowed, path).toContain(path.split('/')[0])
  })
})

function read(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
}
