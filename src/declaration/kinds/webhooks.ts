// Webhooks of the file, by name: one that gets another address stays the same, with its secret and what waits for it.
import { checkEndpoint, createEndpoint, type EndpointDeps, patchEndpoint } from '#src/webhooks/endpoints.ts'
import { within } from '../check.ts'
import type { Current } from '../current.ts'
import { InvalidDeclaration } from '../errors.ts'
import { withLines } from '../lines.ts'
import type { Declaration, DeclaredWebhook } from '../schema.ts'
import { differences, type Step } from '../steps.ts'

/** @param deps of whoever means to apply it; without them it is only compared. @throws InvalidDeclaration */
export function compareWebhooks(declaration: Declaration, current: Current, deps?: EndpointDeps): Step[] {
  const { webhooks = [] } = declaration
  // What may be called is the operator's, not the file's (WEBHOOK_NETWORKS).
  const flaws = webhooks.flatMap((webhook, index) =>
    deps ? within(`webhooks[${index}]`, checkEndpoint(settingsOf(webhook), deps.networks)) : [],
  )
  if (flaws.length > 0) throw new InvalidDeclaration(withLines(declaration, flaws))
  return webhooks.flatMap((webhook) => stepFor(webhook, current, deps))
}

function stepFor(webhook: DeclaredWebhook, current: Current, given: EndpointDeps | undefined): Step[] {
  const deps = () => {
    if (given) return given
    throw new Error('webhooks are applied with the networks that they may reach')
  }
  const { name, disabled, secret } = webhook
  const settings = settingsOf(webhook)
  const record = current.webhooks.get(name)
  if (!record) {
    const input = { ...settings, name, enabled: disabled !== true }
    const run: Step['run'] = (tx, change) => createEndpoint(tx, input, { ...deps(), secret }, change)
    return [{ action: 'create', kind: 'webhook', id: name, run }]
  }
  const { url, types, description, disabledAt } = record
  const from = { url, types, description, disabled: disabledAt !== null }
  const fields = differences(from, {
    ...settings,
    url: new URL(settings.url).href,
    disabled: disabled ?? from.disabled,
  })
  if (!fields) return []
  const run: Step['run'] = (tx, change) =>
    patchEndpoint(
      tx,
      record.id,
      { ...settings, ...(disabled === undefined ? {} : { enabled: !disabled }) },
      deps().networks,
      change,
    )
  return [{ action: 'update', kind: 'webhook', id: name, fields, run }]
}

const settingsOf = ({ url, types, description = '' }: DeclaredWebhook) => ({ url, types, description })
