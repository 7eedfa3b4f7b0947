// sallyport audit: what happened, as a list, as a file that proves itself, and the proof (docs/audit.md).
import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { type Command, InvalidArgumentError, Option } from 'commander'
import type { JWK } from 'jose'
import { recordAudit } from '#src/audit/audit.ts'
import type { Place } from '#src/audit/chain.ts'
import { type ExportFormat, exportFormats, findStretch, writeExport } from '#src/audit/export.ts'
import { type FileVerification, verifyExport } from '#src/audit/export-file.ts'
import { searchAudit } from '#src/audit/find.ts'
import { type Names, namesOf } from '#src/audit/names.ts'
import { type AuditRecord, describeRecord, readSearch, type SearchParameters } from '#src/audit/search.ts'
import { type Verification, verifyDatabase } from '#src/audit/verify.ts'
import { createStatementSigner, statementKeys } from '#src/keys/statement-signer.ts'
import type { CliDeps } from './deps.ts'
import { cliChange, wholeNumber } from './input.ts'
import { table } from './table.ts'

const mostListed = 1_000

export function register(program: Command, deps: CliDeps): void {
  const audit = program.command('audit').description('the record of what happened')

  audit
    .command('list')
    .description('newest first')
    .option('--event <names>', 'login.failed,token.refused; login. means all that begin so')
    .addOption(new Option('--outcome <outcome>', 'how it ended').choices(['success', 'failure']))
    .option('--actor <kind:id>', 'who did it: user:<id>, client:<id>, api_key:<id>')
    .option('--target <kind:id>', 'to what it was done')
    .option('--client <id>', 'by way of which client')
    .option('--address <address>', 'from where: 192.0.2.1, or a network such as 10.0.0.0/8')
    .option('--request <id>', 'in which request')
    .option('--decision <id>', 'the X-Decision-Id of a refusal')
    .option('--from <time>', 'not before: 2026-11-22, or 2026-11-22T12:00:00Z')
    .option('--to <time>', 'before')
    .option('--after <cursor>', 'what --json says as next: the page behind it')
    .option('--limit <number>', 'how many, up to 1000', wholeNumber, 50)
    .action(async (options: SearchParameters & { after?: string; limit: number }, command: Command) => {
      const { after, limit, ...parameters } = options
      if (limit < 1 || limit > mostListed) wrong(command, `--limit goes from 1 to ${mostListed}`)
      const search = readSearch(parameters)
      const database = await deps.openDatabase()
      const { records, next } = await searchAudit(database, search, { after, limit })
      const names = await namesOf(database, records)
      deps.out(
        { data: records.map(describeRecord), next },
        table(
          ['at', 'event', 'outcome', 'actor', 'target', 'client', 'address'],
          records.map((record) => rowOf(record, names)),
          next === null ? 'Nothing of that kind was recorded.' : `Nothing yet: go on with --after ${next}.`,
        ),
      )
    })

  audit
    .command('export')
    .description('a stretch of the record; lines of JSON can be proven anywhere, CSV is for spreadsheets')
    .addOption(new Option('--format <format>', 'jsonl or csv').choices(exportFormats).default('jsonl'))
    .option('--from <time>', 'not before: 2026-11-22, or 2026-11-22T12:00:00Z')
    .option('--to <time>', 'before')
    .option('--output <file>', 'a new file; otherwise standard output')
    .action(
      async (
        { format, output, ...period }: { format: ExportFormat; output?: string; from?: string; to?: string },
        command: Command,
      ) => {
        if (program.opts().json && output === undefined) wrong(command, 'with --json name a file: --output')
        const search = readSearch(period)
        const database = await deps.openDatabase()
        const now = deps.now()
        const chain = {
          database,
          sign: createStatementSigner(database, deps.secretKeys()),
          issuer: deps.config().issuerUrl,
        }
        const stretch = await findStretch(chain, search, now)
        if (!stretch) return deps.fail('Nothing was recorded in that period.')
        const [from, to] = [stretch.start.position + 1, stretch.end.position]
        await recordAudit(database.prisma, {
          event: 'audit.exported',
          outcome: 'success',
          actor: cliChange(deps).actor,
          detail: { format, from, to },
        })
        const out = output === undefined ? process.stdout : createWriteStream(output, { flags: 'wx', mode: 0o600 })
        const progress =
          // Not between the rows of an export that is shown.
          output === undefined && process.stdout.isTTY ? () => undefined : deps.progress('rows exported')
        try {
          if (out !== process.stdout) await once(out, 'open')
          for await (const text of writeExport(chain, stretch, { format, now, progress }))
            if (!out.write(text)) await once(out, 'drain') // throws what the stream says
          if (out !== process.stdout) await once(out.end(), 'close')
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException
          if (code === undefined) throw error
          return deps.fail(`The export cannot be written: ${code === 'EEXIST' ? 'the file exists' : code}.`)
        }
        const said = `Exported ${to - from + 1} rows, from place ${from} to ${to}.`
        deps.out({ file: output, format, from, to, rows: to - from + 1 }, output === undefined ? '' : said)
        if (output === undefined) process.stderr.write(`${said}\n`)
      },
    )

  audit
    .command('verify')
    .description(
      'prove that nothing was changed, removed, inserted or reordered: in an export, or in the database itself',
    )
    .argument('[file]', 'an export in lines of JSON; without it the database is verified')
    .option('--jwks <file|url>', 'of a file: the keys that the issuer publishes at /oauth/jwks')
    .option(
      '--witness <place:hash>',
      'of the database: what somebody kept outside, from the log line audit.signed or the stream',
      readWitness,
    )
    .action(
      async (file: string | undefined, { jwks, witness }: { jwks?: string; witness?: Place }, command: Command) => {
        if (file === undefined && jwks !== undefined) wrong(command, '--jwks goes with a file')
        if (file !== undefined && witness) wrong(command, '--witness goes without a file')
        const result = file === undefined ? await verifyOwn(witness) : await verifyFile(file, jwks)
        deps.out(result, sayResult(result))
        if (!result.ok) process.exitCode = 1
      },
    )

  async function verifyOwn(witness: Place | undefined): Promise<Verification> {
    const database = await deps.openDatabase()
    const keys = await statementKeys(database, deps.secretKeys())
    return verifyDatabase(database, { keys, witness, progress: deps.progress('rows verified') })
  }

  async function verifyFile(file: string, jwks: string | undefined): Promise<FileVerification> {
    const keys = jwks === undefined ? undefined : await readKeys(jwks)
    const input = createReadStream(file)
    const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })
    const failed = new Promise<never>((_, reject) => input.once('error', reject))
    const progress = deps.progress('lines read')
    try {
      return await Promise.race([failed, verifyExport(lines, { keys, progress: progress })])
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      return code === undefined ? Promise.reject(error) : deps.fail(`The file ${file} cannot be read (${code}).`)
    }
  }

  async function readKeys(place: string): Promise<JWK[]> {
    let document: { keys?: unknown }
    try {
      document = JSON.parse(/^https?:\/\//.test(place) ? await fetchText(place) : await readFile(place, 'utf8'))
    } catch {
      return deps.fail(`There is no key set at ${place}.`)
    }
    return Array.isArray(document?.keys) ? document.keys : deps.fail(`There is no key set at ${place}.`)
  }

  async function fetchText(url: string): Promise<string> {
    const answer = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(10_000) })
    if (!answer.ok) throw new Error(`status ${answer.status}`)
    return answer.text()
  }
}

const wrong = (command: Command, what: string) => command.error(`error: ${what}`, { exitCode: 2 })

function readWitness(value: string): Place {
  const [, position, hash] = /^([1-9]\d{0,15}):([0-9a-f]{64})$/.exec(value) ?? []
  if (position === undefined || hash === undefined) throw new InvalidArgumentError('Write <place>:<hash>.')
  return { position: Number(position), hash }
}

function rowOf(record: AuditRecord, names: Names): string[] {
  const entity = (kind: string | null, id: string | null) =>
    names.of(kind, id) ?? ([kind, id].filter(Boolean).join(':') || '-')
  const { at, event, outcome, actorKind, actorId, targetKind, targetId, clientId, address } = record
  return [
    at.toISOString(),
    event,
    outcome,
    entity(actorKind, actorId),
    entity(targetKind, targetId),
    clientId ?? '-',
    address ?? '-',
  ]
}

function sayResult(result: Verification | FileVerification): string {
  const { ok, rows, from, to, signedTo, unknownKeys, findings, more } = result
  const stretch = rows === 0 ? 'No row is there.' : `${rows} rows, from place ${from} on, to place ${to}.`
  const signed =
    signedTo >= from ? `Signed up to place ${signedTo}.` : 'Nothing of it is signed with a key that is known here.'
  const older = unknownKeys > 0 ? [`${unknownKeys} checkpoints are signed with keys that are no longer known.`] : []
  const by =
    'signedBy' in result && result.signedBy === 'file'
      ? [`The key ${result.kid} stands in the file itself: compare it with what ${result.issuer} publishes (--jwks).`]
      : []
  const found = findings.map(({ text }) => `  ${text}`)
  const others = more > 0 ? [`  And ${more} more.`] : []
  return [
    ok ? 'The record holds.' : 'The record does NOT hold.',
    stretch,
    signed,
    ...older,
    ...by,
    ...found,
    ...others,
  ].join('\n')
}
