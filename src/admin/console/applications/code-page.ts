// Programs for an application, as the wizard showed them; the secret is in the hands of whoever kept it.
import { clientSettings } from '#src/clients/settings.ts'
import { template } from '#src/http/render.ts'
import type { ConsolePage, PageDeps } from '../page.ts'
import { type Code, codeFor } from './code.ts'
import { type ApplicationHead, headOf, readApplication } from './read.ts'

export type ApplicationCodePage = ApplicationHead & { code: Code | undefined }

const page = template<ApplicationCodePage>('admin/console/application-code')

export function applicationCodePage({ config, database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/applications/:id/code',
    section: 'applications',
    scope: 'clients:read',
    async show(request) {
      const record = await readApplication(prisma, request)
      const code = codeFor(record.id, clientSettings(record), { issuer: config.issuerUrl })
      render(request, page, { ...headOf(request, record, 'code'), code }, { section: 'applications' })
    },
  }
}
