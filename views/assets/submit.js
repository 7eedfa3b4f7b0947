// Carries the form on. Once: coming back with the back button must not send it again.
const form = document.querySelector('form[data-submit]')
if (performance.getEntriesByType('navigation')[0]?.type !== 'back_forward') form.submit()
