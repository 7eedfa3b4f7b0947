import { createRole, roleSettings, settleRole, updateRole } from '#src/access/roles.ts'
import type { Current } from '../current.ts'
import type { Declaration } from '../schema.ts'
import { differences, type Step } from '../steps.ts'

export function compareRoles({ roles = [] }: Declaration, current: Current): Step[] {
  return roles.flatMap(({ name, ...input }): Step[] => {
    const record = current.roles.get(name)
    if (!record)
      return [{ action: 'create', kind: 'role', id: name, run: (tx, change) => createRole(tx, name, input, change) }]
    const fields = differences(roleSettings(record), settleRole(input))
    if (!fields) return []
    return [
      { action: 'update', kind: 'role', id: name, fields, run: (tx, change) => updateRole(tx, name, input, change) },
    ]
  })
}
