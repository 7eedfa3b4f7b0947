// sallyport why: what stood behind a refusal, from the X-Decision-Id that it carried.
import type { Command } from 'commander'
import { describeReceipt, findReceipt } from '#src/access/receipts.ts'
import type { CliDeps } from './deps.ts'

export function register(program: Command, deps: CliDeps): void {
  program
    .command('why')
    .description('why a request was refused, and what would help')
    .argument('<id>', 'what its answer carried in X-Decision-Id')
    .action(async (id: string) => {
      const { prisma } = await deps.openDatabase()
      const receipt = describeReceipt(await findReceipt(prisma, id))
      deps.out(receipt, inWords(receipt))
    })
}

function inWords(receipt: ReturnType<typeof describeReceipt>): string {
  const { allowed, gate, reason, needs, policies, subject, object } = receipt
  const lines: [string, string | null | undefined][] = [
    ['asked', `${receipt.endpoint} at ${receipt.at.toISOString()}${receipt.address ? ` from ${receipt.address}` : ''}`],
    ['who', subject && `${subject.type} ${subject.id}${receipt.credential ? `, by ${receipt.credential}` : ''}`],
    ['client', receipt.clientId],
    ['api', receipt.api],
    ['action', receipt.action],
    ['object', object && `${object.type} ${object.id}`],
    [
      'answer',
      allowed ? 'yes' : `no, at the gate ${gate}: ${reason}${needs.length > 0 ? ` (${needs.join(', ')})` : ''}`,
    ],
    ['policies', policies.join(', ')],
    ['what helps', receipt.fix],
  ]
  return lines.flatMap(([name, value]) => (value ? [`${`${name}:`.padEnd(12)} ${value}`] : [])).join('\n')
}
