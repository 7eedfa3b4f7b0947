import { createClient, setClientDisabled, updateClient } from '#src/clients/clients.ts'
import { logoHash, setClientLogo } from '#src/clients/logos.ts'
import { clientSettings, settleClient } from '#src/clients/settings.ts'
import { clientInput } from '../check.ts'
import type { Current } from '../current.ts'
import type { Declaration } from '../schema.ts'
import { readSecretHash } from '../secret-hash.ts'
import { differences, type Step } from '../steps.ts'

export function compareClients({ clients = [] }: Declaration, current: Current): Step[] {
  return clients.flatMap((client): Step[] => {
    const { clientId: id, disabled, clientSecret, clientSecretHash } = client
    const logo = client.logo === undefined ? null : (current.logos.get(client.logo) ?? null)
    const input = clientInput(client)
    const record = current.clients.get(id)
    if (!record) {
      const secrets = [
        ...(clientSecret === undefined ? [] : [{ value: clientSecret }]),
        ...[clientSecretHash ?? []].flat().flatMap((written) => readSecretHash(written) ?? []),
      ]
      return [
        {
          action: 'create',
          kind: 'client',
          id,
          async run(tx, change) {
            await createClient(tx, { ...input, id }, secrets, change)
            if (logo) await setClientLogo(tx, id, logo, change)
            if (disabled) await setClientDisabled(tx, id, true, change)
          },
        },
      ]
    }
    const from = {
      ...clientSettings(record),
      logo: record.logo && logoHash(record.logo),
      disabled: record.disabledAt !== null,
    }
    const settings = settleClient(id, input)
    const to = { ...settings, logo: logo && logoHash(logo.name), disabled: disabled ?? from.disabled }
    const fields = differences(from, to)
    if (!fields) return []
    return [
      {
        action: 'update',
        kind: 'client',
        id,
        fields,
        async run(tx, change) {
          if (Object.keys(fields).some((field) => field !== 'disabled' && field !== 'logo'))
            await updateClient(tx, id, input, change)
          if (fields.logo) await setClientLogo(tx, id, logo, change)
          if (fields.disabled) await setClientDisabled(tx, id, disabled ?? false, change)
        },
      },
    ]
  })
}
