// When a person is asked: the engine's own checks (login, consent), and one of ours. Second factors and step-up add theirs here.
import { interactionPolicy } from 'oidc-provider'

export function createInteractionPolicy(): interactionPolicy.DefaultPolicy {
  const { base, Check } = interactionPolicy
  const policy = base()
  policy.get('login')?.checks.add(
    // Storage hides sessions of disabled and deleted people. For one who is disabled between that read and this: ask to sign in,
    // where the engine would stumble over the missing account.
    new Check('account_gone', 'the account of this session cannot be used', 'login_required', (ctx) =>
      ctx.oidc.session?.accountId !== undefined && ctx.oidc.account === undefined
        ? Check.REQUEST_PROMPT
        : Check.NO_NEED_TO_PROMPT,
    ),
  )
  return policy
}
