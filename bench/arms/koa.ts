// The floor: Koa and one line of text. `node koa.ts PORT`
import Koa from 'koa'

const app = new Koa()
app.use((ctx) => {
  ctx.body = 'hello'
})
app.listen(Number(process.argv[2]), '127.0.0.1')
process.on('SIGTERM', () => process.exit(0))
