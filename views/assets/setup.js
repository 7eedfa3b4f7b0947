// The link printed at the first start carries the code behind a #: the part of an address that is never sent, so no proxy logs it.
const code = new URLSearchParams(location.hash.slice(1)).get('code')
if (code) {
  const input = document.getElementById('code')
  if (!input.value) input.value = code
  history.replaceState(null, '', location.pathname + location.search)
  if (document.activeElement === input || document.activeElement === document.body)
    document.getElementById('email').focus()
}
