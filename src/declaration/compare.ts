// What a declaration would change. Reads, compares, refuses; writes nothing. Every change comes with the call that makes it, in
// the order in which the calls can be made: what others name comes before them, what others named goes after them.
//
// Apis, roles, clients, routes, policies and webhooks are described in full: a field that is left out has its default. A person is described in
// part, because people change themselves: a field that is left out is not touched. `disabled`, the `state` of a policy and what the
// policies of an API may speak of (`policySchema`) are never touched unless they are there, and secrets count at creation only: a start
// with an old file must not bring back what was switched off or replaced.
import { deletePolicy } from '#src/access/policies/policies.ts'
import { deleteRole } from '#src/access/roles.ts'
import { deleteApi } from '#src/apis/apis.ts'
import { deleteRoute } from '#src/apis/routes.ts'
import { deleteClient } from '#src/clients/clients.ts'
import type { Db } from '#src/db/database.ts'
import { deleteUser } from '#src/users/users.ts'
import { deleteEndpoint, type EndpointDeps } from '#src/webhooks/endpoints.ts'
import { type Current, readCurrent } from './current.ts'
import { compareApis } from './kinds/apis.ts'
import { compareClients } from './kinds/clients.ts'
import { type Checked, comparePolicies } from './kinds/policies.ts'
import { compareRoles } from './kinds/roles.ts'
import { compareRoutes } from './kinds/routes.ts'
import { compareSettings } from './kinds/settings.ts'
import { compareUsers } from './kinds/users.ts'
import { compareWebhooks } from './kinds/webhooks.ts'
import type { Logos } from './logos.ts'
import type { PolicyTexts } from './policy-texts.ts'
import { refuseReferences } from './references.ts'
import { requireExpanded } from './routes.ts'
import type { WrittenDeclaration } from './schema.ts'
import { requireSecrets } from './secrets.ts'
import type { Step } from './steps.ts'

/** @param options.prune also removes what a section of the file does not list; a section that is not in the file is left alone.
 *  @throws InvalidDeclaration when it names what does not exist, StillInUse when it takes away what others need. */
export async function compare(
  db: Db,
  written: WrittenDeclaration,
  options: { prune: boolean; logos?: Logos; policyTexts?: PolicyTexts; webhookDeps?: EndpointDeps; checked?: Checked },
): Promise<Step[]> {
  const declaration = requireExpanded(written)
  requireSecrets(declaration)
  const current = await readCurrent(db, declaration, options)
  refuseReferences(declaration, current)
  const steps = [
    ...compareApis(declaration, current),
    ...compareRoles(declaration, current),
    ...compareClients(declaration, current),
    ...compareUsers(declaration, current),
    ...compareRoutes(declaration, current),
    ...(await comparePolicies(declaration, current, options)),
    ...compareWebhooks(declaration, current, options.webhookDeps),
    ...(await compareSettings(db, declaration, options)),
  ]
  const removals = removalSteps(current)
  return [...steps, ...removals]
}

/** In the reverse order of dependence. */
function removalSteps({ removed }: Current): Step[] {
  const step = (kind: Step['kind'], id: string, run: Step['run']): Step => ({ action: 'delete', kind, id, run })
  return [
    ...[...removed.webhooks].map(([name, { id }]) =>
      step('webhook', name, (tx, change) => deleteEndpoint(tx, id, change)),
    ),
    ...[...removed.policies].map(([id, { id: policyId, version }]) =>
      step('policy', id, (tx, change) => deletePolicy(tx, policyId, version, change)),
    ),
    ...[...removed.routes].map(([id, route]) =>
      step('route', id, (tx, change) =>
        deleteRoute(tx, { host: route.host, method: route.method, path: route.path }, change),
      ),
    ),
    ...[...removed.users.values()].map((user) =>
      step('user', user.email, (tx, change) => deleteUser(tx, user.id, change)),
    ),
    ...[...removed.clients.keys()].map((id) => step('client', id, (tx, change) => deleteClient(tx, id, change))),
    ...[...removed.roles.keys()].map((name) => step('role', name, (tx, change) => deleteRole(tx, name, change))),
    ...[...removed.apis.keys()].map((id) => step('api', id, (tx, change) => deleteApi(tx, id, change))),
  ]
}
