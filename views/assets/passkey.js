// Passkeys: the button of the page and, where the browser can, the offer inside the field for the email address. The library is fetched
// when it is needed; the server says what is asked for and judges the answer.
for (const part of document.querySelectorAll('[data-passkey]')) {
  const { passkey: address, does, csrf, library, autofill } = part.dataset
  const button = part.querySelector('button')
  const words = part.querySelector('[role=alert]')
  const unsupported = part.querySelector('[data-unsupported]')

  const post = async (path, body) => {
    const response = await fetch(address + path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
      body: JSON.stringify({ csrf, ...body }),
    })
    if (!response.ok) throw new Error(`${response.status}`)
    return response.json()
  }
  const ask = async (useBrowserAutofill) => {
    await import(library)
    const { startAuthentication, startRegistration } = globalThis.SimpleWebAuthnBrowser
    const optionsJSON = await post('/options')
    return does === 'create'
      ? startRegistration({ optionsJSON })
      : startAuthentication({ optionsJSON, useBrowserAutofill })
  }
  const say = (text) => {
    words.textContent = text
    words.hidden = text === ''
  }
  const goOn = async (answer) => {
    const remember = part.closest('form')?.elements.remember?.checked
    const { next } = await post('', { response: answer, ...(remember ? { remember } : {}) })
    location.assign(next)
  }

  if (!globalThis.PublicKeyCredential) {
    button.remove()
    if (unsupported) unsupported.hidden = false
    continue
  }
  button.hidden = false
  button.addEventListener('click', async () => {
    button.disabled = true
    say('')
    try {
      await goOn(await ask(false))
    } catch (error) {
      say(/^(NotAllowedError|AbortError)$/.test(error.name) ? words.dataset.cancelled : words.dataset.failed)
      button.disabled = false
      button.focus()
      if (autofill) offer()
    }
  })
  // Waits for as long as the page is open; a click on the button takes its place.
  const offer = async () => {
    if (!(await PublicKeyCredential.isConditionalMediationAvailable?.())) return
    let answer
    try {
      answer = await ask(true)
    } catch {
      return
    }
    try {
      await goOn(answer)
    } catch {
      say(words.dataset.failed)
      offer()
    }
  }
  if (autofill) offer()
}
