// Part of the program that is loaded with the first request for it (docs/decisions/016): what most processes are never asked for costs
// neither their start nor their memory.
import type { Middleware } from 'koa'

/** @param paths whatever is meant by none of them passes by. @param load may be called again after it failed. */
export function whenFirstAsked(paths: RegExp, load: () => Promise<Middleware>): Middleware {
  let loading: Promise<Middleware> | undefined
  return async (ctx, next) => {
    if (!paths.test(ctx.path)) return next()
    loading ??= load()
    const current = loading
    const loaded = await current.catch((error: unknown) => {
      if (loading === current) loading = undefined
      throw error
    })
    return loaded(ctx, next)
  }
}
