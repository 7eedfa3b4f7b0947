import { createUser, emailKey, setUserDisabled, type UserRecord, updateUser } from '#src/users/users.ts'
import type { Current } from '../current.ts'
import type { Declaration } from '../schema.ts'
import { definedOnly, differences, type Step } from '../steps.ts'

export function compareUsers({ users = [] }: Declaration, current: Current): Step[] {
  return users.flatMap((user): Step[] => {
    const { email, disabled, password: _, passwordFile: __, passwordHash: ___, ...input } = user
    const record = current.users.get(emailKey(email) ?? '')
    if (!record)
      return [
        {
          action: 'create',
          kind: 'user',
          id: email,
          async run(tx, change, secrets) {
            const created = await createUser(
              tx,
              { ...input, email, passwordHash: await secrets.passwordHash(user) },
              change,
            )
            if (disabled) await setUserDisabled(tx, created.id, true, change)
          },
        },
      ]
    const from = userSettings(record)
    const to = { ...from, ...definedOnly(input), ...definedOnly({ disabled }) }
    const fields = differences(from, { ...to, roles: [...to.roles].sort() })
    if (!fields) return []
    return [
      {
        action: 'update',
        kind: 'user',
        id: record.email,
        fields,
        async run(tx, change) {
          if (Object.keys(fields).some((field) => field !== 'disabled')) await updateUser(tx, record.id, input, change)
          if (fields.disabled) await setUserDisabled(tx, record.id, disabled ?? false, change)
        },
      },
    ]
  })
}

/** What the file may say about a person, as it is now. */
export function userSettings(record: UserRecord) {
  const { name, givenName, familyName, picture, locale, zoneinfo } = record
  return {
    disabled: record.disabledAt !== null,
    emailVerified: record.emailVerifiedAt !== null,
    ...{ name, givenName, familyName, picture, locale, zoneinfo },
    attributes: record.attributes as Record<string, unknown>,
    roles: record.roles.map((role) => role.roleName).sort(),
  }
}
