// Signs a person in from a page: authorization code with PKCE (RFC 7636). No library; a module of the page that is the redirect address.
// What follows is filled in for this application.
const issuer = 'ISSUER_URL'
const clientId = 'CLIENT_ID'
const redirectUri = 'REDIRECT_URI'
const scope = 'SCOPE'

const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '')
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)))

/** Leaves the page; the person comes back to it signed in. */
export async function signIn() {
  const [state, verifier] = [random(), random()]
  sessionStorage.setItem('sign-in', JSON.stringify({ state, verifier }))
  const challenge = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))
  location.assign(
    `${issuer}/oauth/authorize?${new URLSearchParams({
      response_type: 'code',
      client_id: clientId,
      redirect_uri: redirectUri,
      scope,
      state,
      code_challenge: base64url(new Uint8Array(challenge)),
      code_challenge_method: 'S256',
    })}`,
  )
}

/** Call it when the page loads. @returns the tokens, or undefined when nobody comes back. Keep them in memory, never in localStorage. */
export async function comeBack() {
  const answer = new URLSearchParams(location.search)
  const asked = JSON.parse(sessionStorage.getItem('sign-in') ?? 'null')
  if (!asked || !answer.has('state')) return undefined
  sessionStorage.removeItem('sign-in')
  history.replaceState(null, '', location.pathname)
  // RFC 6749 10.12: an answer that we did not ask for is nobody's.
  if (answer.get('state') !== asked.state) throw new Error('this answer is not ours')
  if (answer.has('error')) throw new Error(answer.get('error_description') ?? answer.get('error'))
  const response = await fetch(`${issuer}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      client_id: clientId,
      code: answer.get('code'),
      code_verifier: asked.verifier,
      redirect_uri: redirectUri,
    }),
  })
  if (!response.ok) throw new Error(`no token: ${response.status}`)
  return response.json()
}
