// The browser's half. It has no token, no client id and no secret: it asks its own server, and the cookie goes along by itself.

/** The header is what no other site can send: a form cannot set it, and for a script the browser asks our server first. */
async function call(method, path) {
  const response = await fetch(path, { method, headers: { 'X-Requested-By': 'orders-app' } })
  if (response.status === 401) return show(undefined) // the session is over: offer to sign in, do not try again
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`)
  return response.json()
}

async function show(person) {
  element('who').textContent = person ? `Signed in as ${person.name}` : 'You are not signed in'
  element('login').hidden = person !== undefined
  element('app').hidden = person === undefined
  if (person) await list()
}

async function list() {
  const answer = await call('GET', '/api/orders')
  const rows = (answer?.orders ?? []).map(({ id, item }) =>
    Object.assign(document.createElement('li'), { textContent: `${id}: ${item}` }),
  )
  element('orders').replaceChildren(...rows)
}

function element(id) {
  return document.getElementById(id)
}

element('order').addEventListener('click', async () => {
  await call('POST', '/api/orders')
  await list()
})
element('logout').addEventListener('click', async () => {
  const { location } = await call('POST', '/logout')
  window.location.assign(location)
})
const person = await call('GET', '/me')
if (person) await show(person)
