for (const button of document.querySelectorAll('button[data-copy]')) {
  if (!navigator.clipboard) {
    button.remove()
    continue
  }
  button.hidden = false
  button.addEventListener('click', async () => {
    const rows = document.getElementById(button.dataset.copy).querySelectorAll('div')
    const text = [...rows].map((row) => [...row.children].map((cell) => cell.textContent.trim()).join(': ')).join('\n')
    await navigator.clipboard.writeText(text)
    button.textContent = button.dataset.done
  })
}
