// `node bench/guard.ts`: the figures of figures/guard.ts alone, without a database or a server.
import { passed } from './figures/figure.ts'
import { measureGuard } from './figures/guard.ts'

for (const figure of await measureGuard()) {
  const { title, value, unit, goal, note = '' } = figure
  const verdict =
    goal && 'atMost' in goal ? `goal: at most ${goal.atMost} ${unit}, ${passed(figure) ? 'met' : 'missed'}` : ''
  console.log([`${title}: ${value.toFixed(1)} ${unit}`, verdict, note].filter(Boolean).join('; '))
}
