// What an installation needs before others rely on it, as long as it is not there.
import { countOwners } from '#src/access/roles.ts'
import { hasClients } from '#src/clients/clients.ts'
import type { FirstStep } from './overview.ts'
import { type ConsoleRequest, holds, type PageDeps } from './page.ts'

export async function readFirstSteps(
  { database: { prisma }, config }: PageDeps,
  { held, words: { t } }: ConsoleRequest,
): Promise<FirstStep[]> {
  const may = (...scopes: readonly string[]): boolean => scopes.every((scope) => holds(held, scope))
  const steps: FirstStep[] = []
  if (may('clients:write') && !(await hasClients(prisma)))
    steps.push({
      icon: 'grid',
      title: t('console.overview.stepApplication'),
      text: t('console.overview.stepApplicationText'),
      href: '/admin/applications/new',
    })
  if (may('users:write', 'roles:read') && (await countOwners(prisma)) < 2)
    steps.push({
      icon: 'people',
      title: t('console.overview.stepOwner'),
      text: t('console.overview.stepOwnerText'),
      href: '/admin/people/new',
    })
  if (may('settings:read') && config.mail !== 'smtp')
    steps.push({
      icon: 'mail',
      title: t('console.overview.stepMail'),
      text: t('console.overview.stepMailText'),
      href: '/admin/settings',
    })
  return steps
}
