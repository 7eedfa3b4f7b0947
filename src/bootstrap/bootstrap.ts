// What every start makes sure of, in this order, each idempotent and safe when two processes start at once:
//   a look -> own API and owner role -> signing keys -> SALLYPORT_CONFIG -> first administrator -> demo clients (development only)
//   -> banner
import { readFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import type { Change } from '#src/audit/change.ts'
import type { Config } from '#src/config.ts'
import { readConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Database } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { ensureSigningKeys } from '#src/keys/signing-keys.ts'
import type { Log } from '#src/log.ts'
import { isApplied, rememberApplied } from './applied-file.ts'
import { composeBanner } from './banner.ts'
import { ensureDemo, removeDemo } from './demo.ts'
import { ensureFirstAdministrator } from './first-administrator.ts'
import { lookAround } from './look.ts'
import { ensureOwnApi, ensureOwnerRole } from './own-api.ts'

export class BootstrapFailed extends Error {
  override name = 'BootstrapFailed'
}

/** @returns lines for the operator's terminal. They hold secrets: for standard output, never for the log.
 *  @throws BootstrapFailed, InvalidDeclaration, StillInUse, LockTimeout */
export async function bootstrap({
  config,
  database,
  secretKeys,
  log,
  now,
}: {
  config: Config
  database: Database
  secretKeys: SecretKeys
  log: Log
  now: () => Date
}): Promise<{ banner: string[] }> {
  const change: Change = { now: now(), actor: { kind: 'system', id: 'bootstrap' } }
  const ownApi = `${config.issuerUrl}/api`
  const found = await lookAround(database, ownApi)
  if (!found.ownApi) await ensureOwnApi(database, ownApi, change)
  if (!found.ownerRole) await ensureOwnerRole(database, change)
  if (!found.signingKeys) await ensureSigningKeys(database, secretKeys, change.now)
  if (config.configFile) await applyFile({ database, secretKeys, log, config }, config.configFile, change)
  const setup = found.administrator ? undefined : await ensureFirstAdministrator(database, config, change)
  if (config.production && found.demo) await removeDemo(database, change)
  const demo = config.production ? undefined : await ensureDemo(database, secretKeys, ownApi, change)
  return { banner: composeBanner(config.issuerUrl, { setup, demo }) }
}

async function applyFile(
  { database, secretKeys, log, config }: { database: Database; secretKeys: SecretKeys; log: Log; config: Config },
  file: string,
  change: Change,
): Promise<void> {
  const text = readText(file)
  const version = await readConfigurationVersion(database)
  if (await isApplied(database, secretKeys, text)) return log.info({ event: 'configuration.unchanged', file })
  // Most starts find the file as it was; its language takes a while to load.
  const [
    { parseDeclaration },
    { applyDeclaration },
    { readLogos },
    { readPolicyTexts },
    { expandRoutes, namesDocuments },
    { namesSecrets, resolveSecrets },
    { expandBranding },
  ] = await Promise.all([
    import('#src/declaration/parse.ts'),
    import('#src/declaration/apply.ts'),
    import('#src/declaration/logos.ts'),
    import('#src/declaration/policy-texts.ts'),
    import('#src/declaration/routes.ts'),
    import('#src/declaration/secrets.ts'),
    import('#src/declaration/kinds/settings.ts'),
  ])
  const written = parseDeclaration(text)
  const resolved = resolveSecrets(written, dirname(file), config.namedSecrets)
  const declaration = expandRoutes(expandBranding(resolved, dirname(file)), dirname(file))
  const logos = readLogos(declaration, dirname(file))
  const policyTexts = readPolicyTexts(declaration, dirname(file))
  const webhookDeps = { secretKeys, networks: config.webhookNetworks }
  const named = { logos, policyTexts, webhookDeps, file: basename(file) }
  const changes = await applyDeclaration(database, declaration, { ...change, prune: false, dryRun: false, ...named })
  log.info({ event: 'configuration.applied', file, changes: changes.length })
  // People and webhooks change without the configuration's version, and files and variables that this one names without its text: such a file is compared at
  // every start.
  const namesSheet = written.branding?.cssFile !== undefined
  const namesOthers =
    logos.size > 0 || policyTexts.size > 0 || namesDocuments(written) || namesSecrets(written) || namesSheet
  if (changes.length === 0 && !declaration.users && !declaration.webhooks && !namesOthers)
    await rememberApplied(database, secretKeys, { text, version })
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new BootstrapFailed(`SALLYPORT_CONFIG names a file that cannot be read: ${file}`, { cause: error })
  }
}
