// Shows a password while its button is pressed in. Without this script the button stays hidden.
for (const button of document.querySelectorAll('button[data-reveal]')) {
  const input = document.getElementById(button.dataset.reveal)
  button.hidden = false
  const set = (shown) => {
    input.type = shown ? 'text' : 'password'
    button.setAttribute('aria-pressed', String(shown))
    button.setAttribute('aria-label', shown ? button.dataset.hide : button.dataset.show)
  }
  button.addEventListener('click', () => {
    set(input.type === 'password')
    input.focus()
  })
  // A password manager looks for a password field, and a browser would remember plain text.
  input.form.addEventListener('submit', () => set(false))
}
