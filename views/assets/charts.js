// Draws a table of numbers over time. The table says everything that the chart shows, so the chart is for eyes alone.
const formats = {
  hour: new Intl.DateTimeFormat(document.documentElement.lang, {
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }),
  day: new Intl.DateTimeFormat(document.documentElement.lang, { day: 'numeric', month: 'short', timeZone: 'UTC' }),
}
const styleOf = (element, name) => getComputedStyle(element).getPropertyValue(name).trim()

for (const place of document.querySelectorAll('[data-chart]')) {
  const table = document.getElementById(place.dataset.chart)
  const rows = [...table.tBodies[0].rows]
  const times = rows.map((row) => Date.parse(row.querySelector('time').dateTime) / 1000)
  const columns = [...table.tHead.rows[0].cells].slice(1)
  const numbers = columns.map((_, index) => rows.map((row) => Number(row.cells[index + 1].querySelector('data').value)))
  const step = times[1] - times[0]
  const format = step < 86_400 ? formats.hour : formats.day
  const colour = (name) => () => styleOf(document.body, name)
  const axis = {
    stroke: colour('--soft'),
    font: `12px ${styleOf(document.body, 'font-family')}`,
    ticks: { show: false },
  }
  const size = () => ({ width: place.clientWidth, height: place.clientHeight })
  const chart = new uPlot(
    {
      ...size(),
      cursor: { show: false },
      legend: { show: false },
      padding: [8, 8, 0, 0],
      scales: {
        x: { range: [times[0] - step * 0.6, times.at(-1) + step * 0.6] },
        y: { range: (_, __, most) => [0, Math.max(4, most * 1.1)] },
      },
      axes: [
        {
          ...axis,
          grid: { show: false },
          size: 28,
          splits: (u) => {
            const every = Math.max(1, Math.ceil((times.length * 64) / u.width))
            return times.filter((_, index) => index % every === 0)
          },
          values: (_, splits) => splits.map((at) => format.format(at * 1000)),
        },
        {
          ...axis,
          grid: { stroke: colour('--line'), width: 1 },
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6, 1e7],
          size: (_, values) => 12 + 8 * Math.max(3, ...(values ?? []).map((value) => value.length)),
        },
      ],
      series: [
        {},
        ...columns.map(({ dataset }, index) => ({
          stroke: colour(dataset.colour),
          fill: colour(dataset.colour),
          width: 0,
          points: { show: false },
          paths: uPlot.paths.bars({ size: [0.36, 28], align: index === 0 ? -1 : 1, radius: 0.2 }),
        })),
      ],
    },
    [times, ...numbers],
    place,
  )
  new ResizeObserver(() => chart.setSize(size())).observe(place)
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => chart.redraw())
}
