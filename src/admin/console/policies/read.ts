// One policy of the address, and what its form says.
import { findPolicy, PolicyNotFound, type PolicyRecord } from '#src/access/policies/policies.ts'
import type { Form } from '#src/http/form.ts'
import type { ConsoleRequest, PageDeps } from '../page.ts'

/** @throws PolicyNotFound */
export async function readPolicy(
  prisma: PageDeps['database']['prisma'],
  { ctx }: ConsoleRequest,
): Promise<PolicyRecord> {
  const id = String(ctx.params.id)
  const policy = await findPolicy(prisma, id)
  if (!policy) throw new PolicyNotFound(id)
  return policy
}

/** The version that was shown with the form; 0, which none has, when it says none. */
export function versionOf(form: Form): number {
  const said = form.get('version') ?? ''
  return /^[1-9]\d{0,8}$/.test(said) ? Number(said) : 0
}
