// Style sheets, icons and the few scripts of the pages, read once at start. Their names carry a hash of their content, so a browser
// may keep them for a year and never shows an old one. The operator's own sheet may change while the server runs.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { extname } from 'node:path'
import type { Middleware } from 'koa'

const folder = new URL('../../views/assets/', import.meta.url)
/** Served as they come from their package, so that they are what was installed. */
const packaged = {
  'webauthn.js': new URL('../dist/bundle/index.umd.min.js', import.meta.resolve('@simplewebauthn/browser')),
  'htmx.js': new URL('./htmx.min.js', import.meta.resolve('htmx.org')),
  'uplot.js': new URL('./uPlot.iife.min.js', import.meta.resolve('uplot')),
  'uplot.css': new URL('./uPlot.min.css', import.meta.resolve('uplot')),
}

const types: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml; charset=utf-8',
}

export type Assets = Readonly<{
  /** The address of the operator's own sheet, when there is one now. */
  readonly theme: string | undefined
  /** @throws Error for a name that is not in views/assets: a template that asks for it is wrong. */
  url(name: string): string
  middleware: Middleware
}>

/** So many of the operator's sheets are served that were in force: pages made with one ask for it a moment later. */
const themesKept = 4
const schemes = ['light', 'dark'] as const
const themeAddress = /^\/assets\/(theme(?:-light|-dark)?)\.[\w-]{12}\.css$/

/** @param config.themeCss the text of a sheet that is loaded after ours, as it is at this moment. */
export function loadAssets(config: { readonly themeCss?: string | undefined } = {}): Assets {
  const urls = new Map<string, string>()
  const files = new Map<string, { body: Buffer; type: string; etag: string }>()
  for (const name of readdirSync(folder)) serve(name, readFileSync(new URL(name, folder)))
  for (const [name, source] of Object.entries(packaged)) serve(name, readFileSync(source))
  serveSchemes('sallyport', files.get(urls.get('sallyport.css') ?? '')?.body.toString() ?? '')
  let themed: string | undefined
  const themes: string[][] = []

  /** Before anybody looks at the sheet of the operator. */
  function followTheme(): void {
    if (config.themeCss === themed) return
    themed = config.themeCss
    if (themed === undefined) {
      for (const name of ['theme.css', 'theme-light.css', 'theme-dark.css']) urls.delete(name)
      return
    }
    const added = [serve('theme.css', Buffer.from(themed)), ...serveSchemes('theme', themed)]
    const others = themes.filter((one) => one[0] !== added[0])
    themes.splice(0, themes.length, added, ...others.slice(0, themesKept - 1))
    for (const gone of others.slice(themesKept - 1).flat()) files.delete(gone)
  }

  function serveSchemes(name: string, css: string): string[] {
    return schemes.map((scheme) => serve(`${name}-${scheme}.css`, Buffer.from(inScheme(css, scheme))))
  }

  function serve(name: string, body: Buffer): string {
    const extension = extname(name)
    const type = types[extension]
    if (!type) throw new Error(`views/assets/${name}: no content type is known for ${extension}`)
    const hash = createHash('sha256').update(body).digest('base64url').slice(0, 12)
    const url = `/assets/${name.slice(0, -extension.length)}.${hash}${extension}`
    urls.set(name, url)
    files.set(url, { body, type, etag: `"${hash}"` })
    return url
  }

  /** Another process may have made the page, with a sheet that is not known here yet or no longer: the one that is in force will do. */
  function themeInForce(path: string) {
    const name = themeAddress.exec(path)?.[1]
    return name === undefined ? undefined : files.get(urls.get(`${name}.css`) ?? '')
  }

  const url = (name: string): string => {
    followTheme()
    const found = urls.get(name)
    if (!found) throw new Error(`views/assets/${name} does not exist`)
    return found
  }
  const icon = files.get(url('favicon.svg'))

  return {
    url,
    get theme() {
      followTheme()
      return urls.get('theme.css')
    },
    async middleware(ctx, next) {
      const favicon = ctx.path === '/favicon.ico'
      followTheme()
      const named = favicon ? icon : files.get(ctx.path)
      const file = named ?? themeInForce(ctx.path)
      if (!file || (ctx.method !== 'GET' && ctx.method !== 'HEAD')) return next()
      ctx.type = file.type
      if (!named) ctx.set('Cache-Control', 'no-store')
      else ctx.set('Cache-Control', favicon ? 'public, max-age=86400' : 'public, max-age=31536000, immutable')
      ctx.set('ETag', file.etag)
      ctx.status = 200
      if (ctx.fresh) ctx.status = 304
      else ctx.body = file.body
    },
  }
}

/** For previews: the sheet as it is for somebody whose device asks for this scheme, whatever the device at hand asks for. */
export function inScheme(css: string, scheme: 'light' | 'dark'): string {
  const decided = css.replace(/\(\s*prefers-color-scheme\s*:\s*(light|dark)\s*\)/g, (_, asked) =>
    asked === scheme ? '(min-width: 0)' : '(max-width: 0)',
  )
  return `${decided}\n:root { color-scheme: ${scheme}; }\n`
}
