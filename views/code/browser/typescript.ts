// Signs a person in from a page, with the library oidc-client-ts (npm install oidc-client-ts).
// What follows is filled in for this application.
import { InMemoryWebStorage, UserManager, WebStorageStateStore } from 'oidc-client-ts'

const manager = new UserManager({
  authority: 'ISSUER_URL',
  client_id: 'CLIENT_ID',
  redirect_uri: 'REDIRECT_URI',
  scope: 'SCOPE',
  // Tokens stay in memory: what is in localStorage, every script of the page can read.
  userStore: new WebStorageStateStore({ store: new InMemoryWebStorage() }),
})

/** Leaves the page; the person comes back to it signed in. */
export const signIn = () => manager.signinRedirect()

/** On the redirect address. `user.profile` says who it is, `user.access_token` is for your API. */
export const comeBack = () => manager.signinCallback()
