// A memory with a known size: when it is full the oldest entry goes. Who fills it makes others ask again, and no more than that.

export type BoundedMap<Value> = Readonly<{
  get(name: string): Value | undefined
  set(name: string, value: Value): void
  delete(name: string): void
}>

export function createBoundedMap<Value>(most: number): BoundedMap<Value> {
  const entries = new Map<string, Value>()
  return {
    get: (name) => entries.get(name),
    set(name, value) {
      entries.delete(name)
      if (entries.size >= most) {
        const oldest = entries.keys().next()
        if (!oldest.done) entries.delete(oldest.value)
      }
      entries.set(name, value)
    },
    delete: (name) => {
      entries.delete(name)
    },
  }
}
