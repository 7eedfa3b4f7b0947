// sallyport probe: does an API refuse what it must refuse? 0: nothing was found. 1: something was. 2: nobody knows, because it could not be asked,
// not to the end, or said nothing about who may call (docs/decisions/041).
import type { Command } from 'commander'
import { readAtMost } from '#src/declaration/beside.ts'
import { InvalidOpenapi, mostDocumentBytes, readOpenapi } from '#src/openapi/document.ts'
import { NothingMinted } from '#src/probe/credentials.ts'
import { type ObjectPlan, readObjects } from '#src/probe/objects.ts'
import { InvalidProbe, ProbeRunning, runProbe } from '#src/probe/probe.ts'
import { describeReport } from '#src/probe/report.ts'
import { usualLimits } from '#src/probe/wire.ts'
import { Refusal } from '#src/refusal.ts'
import type { CliDeps } from './deps.ts'
import { cliChange, collect, wholeNumber } from './input.ts'
import { table } from './table.ts'

type Options = {
  url: string
  api: string
  object?: string[]
  objects?: string
  unsafe: boolean
  yesThisIsMine: boolean
  rate: number
  requests: number
  timeoutSeconds: number
}

export function register(program: Command, deps: CliDeps): void {
  program
    .command('probe')
    .description('call an API as two throw-away people, with good tokens and bad ones, and tell what it lets through')
    .argument('<document>', 'what it says about itself: OpenAPI 3.0 or 3.1, JSON or YAML')
    .requiredOption('--url <url>', 'where it answers, with what stands before every path of the document')
    .requiredOption('--api <identifier>', 'the API, as it is known here')
    .option('--object <name=id>', 'an object, such as orders=88 for /orders/{id}; several times', collect)
    .option('--objects <file>', 'YAML: how A makes objects of their own (docs/probe.md)')
    .option('--unsafe', 'also call what may change something: POST, PUT, PATCH, DELETE', false)
    .option('--yes-this-is-mine', 'probe an address that is not on this machine', false)
    .option('--rate <number>', 'requests a second', wholeNumber, usualLimits.perSecond)
    .option('--requests <number>', 'requests at most', wholeNumber, usualLimits.mostRequests)
    .option('--timeout-seconds <seconds>', 'for each request', wholeNumber, usualLimits.timeoutSeconds)
    .action(async (document: string, options: Options, command: Command) => {
      const stop = new AbortController()
      const onSignal = () => stop.abort()
      process.once('SIGINT', onSignal).once('SIGTERM', onSignal) // a second one ends it at once
      try {
        const report = await probe(deps, document, options, stop.signal)
        deps.out(report, describeReport(report, table))
        const { findings, stopped, judged } = report
        process.exitCode = findings.length > 0 ? 1 : stopped !== null || judged === 0 ? 2 : 0
      } catch (error) {
        if (error instanceof Refusal || error instanceof NothingMinted || error instanceof ProbeRunning)
          command.error(`error: ${error.message}`, { exitCode: 2 })
        throw error
      } finally {
        process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
      }
    })
}

async function probe(deps: CliDeps, file: string, options: Options, stop: AbortSignal) {
  const read = readOpenapi(readBytes(file), file)
  if ('flaws' in read) throw new InvalidOpenapi(read.flaws)
  const { url, api, unsafe, yesThisIsMine: isMine, rate, requests, timeoutSeconds } = options
  const outOfRange = Object.entries({ rate, requests, 'timeout-seconds': timeoutSeconds }).filter(
    ([, value]) => value < 1,
  )
  if (outOfRange.length > 0)
    throw new InvalidProbe(
      outOfRange.map(([name]) => ({ field: `--${name}`, problem: 'is 0', fix: 'Write 1 or more.' })),
    )
  const limits = { perSecond: rate, mostRequests: requests, timeoutSeconds }
  const objects = { ...readGiven(options.object ?? []), ...readFile(options.objects) }
  const database = await deps.openDatabase()
  return runProbe(
    { database, secretKeys: deps.secretKeys(), issuer: deps.config().issuerUrl, change: () => cliChange(deps) },
    { document: read.document, url, api, objects, unsafe, isMine, limits },
    stop,
    deps.progress('operations called'),
  )
}

function readGiven(given: readonly string[]): ObjectPlan {
  const pairs = given.map((text) => /^([A-Za-z][\w-]{0,63})=(.{1,200})$/.exec(text)?.slice(1) ?? [text])
  const wrong = pairs.find((pair) => pair.length < 2)
  if (wrong)
    throw new InvalidProbe([{ field: '--object', problem: `is ${wrong[0]}`, fix: 'Write name=id, such as orders=88.' }])
  return Object.fromEntries(pairs as [string, string][])
}

function readFile(file: string | undefined): ObjectPlan {
  if (file === undefined) return {}
  const read = readObjects(readBytes(file).toString('utf8'), file)
  if ('flaws' in read) throw new InvalidProbe(read.flaws)
  return read.objects
}

function readBytes(file: string): Buffer {
  try {
    return readAtMost(file, mostDocumentBytes)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown reason'
    throw new InvalidProbe([{ field: file, problem: `cannot be read (${code})`, fix: 'Check its name.' }])
  }
}
