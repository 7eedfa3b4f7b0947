// Addresses that applications registered, on their way into a page.

/** A registration is checked where it is written; a link is checked once more where it is followed. `javascript:` is an address, too.
 *  @returns undefined for anything that is not http or https. */
export function webAddress(uri: string | null | undefined): string | undefined {
  const url = uri ? URL.parse(uri) : null
  return url && (url.protocol === 'https:' || url.protocol === 'http:') ? url.href : undefined
}

/** `shop.example` for people; an application on this device has only a scheme to show. */
export function siteOf(uri: string): string {
  return URL.parse(uri)?.host || uri
}
