import { writePolicySchema } from '#src/access/policies/policies.ts'
import { apiSettings, createApi, setIntrospectionClients, settleApi, updateApi } from '#src/apis/apis.ts'
import type { Prisma } from '#src/db/database.ts'
import type { Current } from '../current.ts'
import type { Declaration } from '../schema.ts'
import { differences, type Step } from '../steps.ts'
import { schemaChange } from './policies.ts'

export function compareApis(declaration: Declaration, current: Current): Step[] {
  return (declaration.apis ?? []).flatMap((api): Step[] => {
    const { identifier, policySchema: _, ...input } = api
    const schema = schemaChange(declaration, current, identifier)
    const record = current.apis.get(identifier)
    const to = settleApi(input)
    // Clients that it names may not be there yet, and those clients may name it: the links come last.
    const finish = (tx: Prisma.TransactionClient) => setIntrospectionClients(tx, identifier, to.introspectionClients)
    if (!record) {
      const first = { ...input, identifier, introspectionClients: [] }
      return [
        {
          action: 'create',
          kind: 'api',
          id: identifier,
          async run(tx, change) {
            await createApi(tx, first, change)
            if (schema) await writePolicySchema(tx, identifier, schema.to, change)
          },
          finish,
        },
      ]
    }
    const from = apiSettings(record)
    const own = differences(from, to)
    const first = { ...input, introspectionClients: from.introspectionClients }
    if (!own && !schema) return []
    return [
      {
        action: 'update',
        kind: 'api',
        id: identifier,
        fields: { ...own, ...(schema && { policySchema: schema }) },
        // What policies may speak of before the policies, which are looked at again when they are written.
        async run(tx, change) {
          if (own) await updateApi(tx, identifier, first, change)
          if (schema) await writePolicySchema(tx, identifier, schema.to, change)
        },
        finish,
      },
    ]
  })
}
