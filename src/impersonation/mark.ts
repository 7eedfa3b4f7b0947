// An administrator acts as somebody else for a while, to see what they see (docs/decisions/054). What lives here: whether they may, what a
// session of it is known by, whether it is still under way, how it ends. What never does: signing anybody in (oauth/), and pages.
//
//   console: ask.ts, one row, 303 -> /oauth/authorize as our own client -> interaction: begin.ts, the row is begun by the browser that asked
//   -> the engine ends the session of the administrator and begins one of the person, whose `acr` names the row
//   -> underway.ts at every look at that session or a token of it -> end.ts: by hand, by the person, by time, or because a reason for it is gone
//
// The mark is the `acr` itself, so a session of an impersonation cannot exist without it, and no level of assurance is ever read from it.

const mark = 'urn:sallyport:impersonation:'

/** From its beginning, whatever is done meanwhile. */
export const impersonationSeconds = 1800

export const markOf = (id: string): string => mark + id

/** @param acr of a session, a code or a token. @returns the id; undefined: the person signed in themselves. */
export function impersonationIn(acr: unknown): string | undefined {
  return typeof acr === 'string' && acr.startsWith(mark) ? acr.slice(mark.length) : undefined
}
