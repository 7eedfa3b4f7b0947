// A second click on a slow connection would send the form twice; the answer to the second is an expired page.
for (const form of document.querySelectorAll('form[data-once]')) {
  form.addEventListener('submit', (event) => {
    if (event.submitter?.formTarget === '_blank') return // the form stays, and is sent again
    if (form.dataset.sent) event.preventDefault()
    form.dataset.sent = 'yes'
    form.setAttribute('aria-busy', 'true')
  })
}
// Back from the next page the browser may show this one as it was left.
addEventListener('pageshow', () => {
  for (const form of document.querySelectorAll('form[data-once]')) {
    delete form.dataset.sent
    form.removeAttribute('aria-busy')
  }
})
