// Relations in the console.
import { writeRelations } from '#src/access/relations/relations.ts'
import { lookAtConsole, press } from '#test/support/console-pages.ts'
import { change } from '#test/support/installation.ts'

const list = '/admin/relations'
const relation = encodeURIComponent('order:88#parent@folder:7')

lookAtConsole(
  'relations',
  [
    { name: 'relations', path: () => list },
    { name: 'relations-of-object', path: () => `${list}?object=order:88` },
    { name: 'relations-write', path: () => `${list}/write` },
    {
      name: 'relations-write-refused',
      path: () => `${list}/write`,
      status: 422,
      async act(page) {
        await page.fill('#relations', 'order:88#owner@user:42\norder:89#owner')
        return press(page)
      },
    },
    { name: 'relation-delete', path: () => `${list}/delete?relation=${relation}`, shows: `${list}/delete` },
    {
      name: 'relations-check',
      path: ({ alice }) => `${list}/check?subject=user:${alice.id}&relation=viewer&object=order:88`,
      shows: `${list}/check`,
    },
    { name: 'relations-check-no', path: () => `${list}/check?subject=user:42&relation=owner&object=order:88` },
  ],
  async ({ server, alice }) => {
    const write = [
      ...['order:88#owner@user:42', `order:89#owner@user:${alice.id}`, 'order:88#parent@folder:7'],
      ...['folder:7#viewer@group:everybody#member', 'group:everybody#member@group:engineering#member'],
      ...[
        `group:engineering#member@user:${alice.id}`,
        'file:/home/shared/reports/2026/november.pdf#reader@client:reports',
      ],
    ]
    await writeRelations(server.database.prisma, { write }, change())
  },
)
