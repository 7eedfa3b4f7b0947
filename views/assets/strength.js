// Says while a new password is typed whether it will do. A hint by length and variety only: the server judges, with lists that no page
// should carry. Without this script there is no line.
for (const line of document.querySelectorAll('[data-strength]')) {
  const input = document.getElementById(line.dataset.strength)
  const least = Number(line.dataset.least)
  const [meter, words] = line.children
  line.hidden = false
  const update = () => {
    const characters = [...input.value.normalize('NFC')]
    // What repeats the character before it, or counts on from it, is easy to guess.
    const fresh = characters.filter((character, at) => {
      const step = character.codePointAt(0) - (characters[at - 1] ?? '').codePointAt(0)
      return !(Math.abs(step) <= 1)
    }).length
    const varied = new Set(characters).size
    let level = 1
    if (characters.length >= least) level = fresh < least * 0.6 || varied < 6 ? 2 : fresh < least + 5 ? 3 : 4
    if (characters.length === 0) level = 0
    meter.value = level
    const text = ['', line.dataset.short, line.dataset.weak, line.dataset.good, line.dataset.strong][level]
    if (words.textContent !== text) words.textContent = text // a screen reader hears of changes only
  }
  input.addEventListener('input', update)
  update()
}
