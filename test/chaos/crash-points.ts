// Loaded into a server from outside (`--import`): after SIGUSR2 the process ends, as if the machine had lost power, the next time that the
// engine reaches the point of a rotation that CHAOS_CRASH_AT names.
import Provider from 'oidc-provider'

const point = process.env.CHAOS_CRASH_AT
let armed = false
process.on('SIGUSR2', () => {
  armed = true
})

function crashAt(reached: string): void {
  if (armed && point === reached) process.kill(process.pid, 'SIGKILL')
}

const emit = Provider.prototype.emit
Provider.prototype.emit = function (this: Provider, ...event: Parameters<typeof emit>) {
  if (event[0] === 'refresh_token.consumed') crashAt('after consume')
  if (event[0] === 'refresh_token.saved') crashAt('after save')
  return emit.apply(this, event)
}

type Consumes = { consume(): Promise<void> }
const { get } = Object.getOwnPropertyDescriptor(Provider.prototype, 'RefreshToken') ?? {}
const patched = new WeakSet<object>()
Object.defineProperty(Provider.prototype, 'RefreshToken', {
  configurable: true,
  get(this: Provider) {
    const model = get?.call(this) as { prototype: Consumes }
    if (!patched.has(model)) {
      patched.add(model)
      const { consume } = model.prototype
      model.prototype.consume = function (this: Consumes) {
        crashAt('before consume')
        return consume.call(this)
      }
    }
    return model
  },
})
