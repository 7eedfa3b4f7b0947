// Protected APIs.
import { listApis } from '#src/apis/apis.ts'
import { template } from '#src/http/render.ts'
import { cut, textOf } from '../lists.ts'
import type { ConsolePage, PageDeps } from '../page.ts'

export type ApisPage = {
  apis: readonly {
    href: string
    name: string
    identifier: string
    format: string
    seconds: number
    accept: readonly string[]
    scopes: number
    builtIn: boolean
  }[]
  next: string | undefined
}

const page = template<ApisPage>('admin/console/apis')
const perPage = 25

export function apisPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/apis',
    section: 'apis',
    scope: 'apis:read',
    async show(request) {
      const found = await listApis(prisma, {
        after: textOf(request.ctx, 'after', 1000) || undefined,
        limit: perPage + 1,
      })
      const { rows, next } = cut(request.ctx, found, perPage, ({ identifier }) => identifier)
      render(
        request,
        page,
        {
          apis: rows.map((api) => ({
            href: `/admin/apis/${encodeURIComponent(api.identifier)}`,
            name: api.name,
            identifier: api.identifier,
            format: api.accessTokenFormat,
            seconds: api.accessTokenTtlSeconds,
            accept: api.accept,
            scopes: api.scopes.length,
            builtIn: api.builtIn,
          })),
          next,
        },
        { section: 'apis' },
      )
    },
  }
}
