// When a person is asked: the engine's own checks (login, consent), and ours.
import { interactionPolicy, type KoaContextWithOIDC } from 'oidc-provider'
import type { Database } from '#src/db/database.ts'
import { asLevel } from '#src/factors/assurance.ts'
import { isEnough, readStanding } from '#src/factors/second-factors.ts'
import { impersonationIn } from '#src/impersonation/mark.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import type { RememberedDevices } from './remembered-devices.ts'
import { requestedAcr, strongerProof } from './requested-acr.ts'
import type { Snapshot } from './snapshot.ts'

export function createInteractionPolicy(deps: {
  database: Database
  snapshot: Snapshot
  remembered: RememberedDevices
}): interactionPolicy.DefaultPolicy {
  const { base, Check } = interactionPolicy
  const policy = base()
  const login = policy.get('login')
  if (!login) throw new Error('the engine has no login prompt any more: src/oauth/interaction-policy.ts must follow')
  // The engine compares texts; here one level is good for those below it, so these two would ask for ever.
  login.checks.remove('essential_acrs')
  login.checks.remove('essential_acr')
  login.checks.add(
    // Storage hides sessions of disabled and deleted people. For one who is disabled between that read and this: ask to sign in,
    // where the engine would stumble over the missing account.
    new Check('account_gone', 'the account of this session cannot be used', 'login_required', (ctx) =>
      ctx.oidc.session?.accountId !== undefined && ctx.oidc.account === undefined
        ? Check.REQUEST_PROMPT
        : Check.NO_NEED_TO_PROMPT,
    ),
  )
  login.checks.add(
    new Check(strongerProof, 'the sign-in is not strong enough for this request', 'login_required', async (ctx) =>
      (await isStrongEnough(ctx, deps)) ? Check.NO_NEED_TO_PROMPT : Check.REQUEST_PROMPT,
    ),
  )
  return policy
}

/** A session that satisfies role, client and request is not asked again, whichever of them asked the last time. */
async function isStrongEnough(
  ctx: KoaContextWithOIDC,
  { database, snapshot, remembered }: { database: Database; snapshot: Snapshot; remembered: RememberedDevices },
): Promise<boolean> {
  const { session, account, client, params = {} } = ctx.oidc
  if (session?.accountId === undefined || account === undefined || client === undefined) return true
  const { accountId } = session
  const impersonated = impersonationIn(session.acr) !== undefined
  const standing = await currentUnit().remember(`standing ${accountId}`, () => readStanding(database, accountId))
  if (!standing) return true
  const secondFactor = snapshot.knownClient(client.clientId)?.secondFactor ?? 'optional'
  const asking = { secondFactor, asked: requestedAcr(params) }
  // Nobody proved anything of the person's: whoever asks for any proof asks for one that cannot be had.
  if (impersonated)
    return (
      asking.asked === undefined &&
      params.max_age === undefined &&
      secondFactor !== 'required' &&
      !standing.roleRequires
    )
  const enough = (isRemembered: boolean) =>
    isEnough(asLevel(session.acr), standing, { ...asking, remembered: isRemembered })
  // Looked for only where it would make the difference.
  return enough(false) || (enough(true) && (await remembered.find(ctx, accountId)) !== undefined)
}
