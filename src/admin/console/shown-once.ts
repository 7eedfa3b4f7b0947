// The page of a secret that was made a moment ago. It is the answer to the form that made it: nothing keeps it, and loading it again does not
// show it again.
import { template } from '#src/http/render.ts'

export type ShownOncePage = {
  title: string
  value: string
  /** What else to know of it. */
  note: string | undefined
  /** To go on to. */
  href: string
}

export const shownOnce = template<ShownOncePage>('admin/console/shown-once')
