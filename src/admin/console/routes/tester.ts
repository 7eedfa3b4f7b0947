// Which route answers a request? Asked of the gate's own matcher, with the routes as they are kept.
import { readQuestion } from '#src/apis/route-question.ts'
import { listRoutes, routeMethods, routeName } from '#src/apis/routes.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { template } from '#src/http/render.ts'
import { type Choice, oneOf, textOf } from '../lists.ts'
import type { ConsolePage, PageDeps } from '../page.ts'
import { type Ask, asksOf, hrefOf, routesPath } from './words.ts'

export type RouteTesterPage = {
  address: string
  methods: readonly Choice[]
  /** What was typed is no address. */
  unknown: boolean
  answer:
    | { href: string; name: string; asks: readonly Ask[]; parameters: readonly (readonly [string, string])[] }
    | { because: string }
    | undefined
}

const page = template<RouteTesterPage>('admin/console/route-tester')

const reasons = {
  no_route: 'console.routes.noRoute',
  unreadable: 'console.routes.unreadable',
  sign_in: 'console.routes.signIn',
} as const satisfies Record<string, MessageKey>

export function routeTesterPage({ database: { prisma }, whichRoute, render }: PageDeps): ConsolePage {
  return {
    path: `${routesPath}/test`,
    section: 'routes',
    scope: 'routes:read',
    async show(request) {
      const { ctx, words } = request
      const address = textOf(ctx, 'address', 4000)
      const method = oneOf(ctx, 'method', routeMethods) ?? 'GET'
      const question = readQuestion(method, address)
      const answer = question && whichRoute(await listRoutes(prisma), question)
      render(
        request,
        page,
        {
          address,
          methods: routeMethods.map((value) => ({ value, label: value, selected: value === method })),
          unknown: address !== '' && question === undefined,
          answer:
            answer &&
            ('because' in answer
              ? { because: words.t(reasons[answer.because]) }
              : {
                  href: hrefOf(answer.route),
                  name: routeName(answer.route),
                  asks: asksOf(words, answer.route),
                  parameters: Object.entries(answer.parameters),
                }),
        },
        { section: 'routes' },
      )
    },
  }
}
