// Copies the text of one element, as it stands.
for (const button of document.querySelectorAll('button[data-copy-text]')) {
  if (!navigator.clipboard) {
    button.remove()
    continue
  }
  button.hidden = false
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copyText).textContent.trim())
    button.textContent = button.dataset.done
  })
}
