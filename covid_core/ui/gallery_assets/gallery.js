// Small images side by side, each a button that opens its image. Of an image it knows the small picture, the words below it and
// the name of its file, which it gives back when the image is asked for. All texts are set as texts, never as markup.

const galleries = new WeakMap()
// The file that was opened last, by the key of the component: it is where a reader goes on who comes back from it.
const opened = new Map()

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".gallery")
  if (!galleries.has(root)) galleries.set(root, new Gallery(root))
  galleries.get(root).show(data, (file) => setTriggerValue("open", file))
}

class Gallery {
  constructor(root) {
    this.root = root
    this.grid = root.querySelector(".grid")
    this.grid.onkeydown = (event) => this.press(event)
    this.grid.addEventListener("focusin", (event) => this.stand(this.buttons().indexOf(event.target.closest(".tile"))))
  }

  show(data, open) {
    this.open = open
    this.key = data.key
    const shown = JSON.stringify(data)
    if (shown === this.shown) return
    const first = this.shown === undefined
    this.shown = shown
    const focused = this.root.getRootNode().activeElement?.dataset.file
    this.grid.setAttribute("aria-label", `${data.tiles.length} images. Arrow keys move, Enter opens one.`)
    this.grid.replaceChildren(...data.tiles.map((tile) => this.tile(tile)))
    const buttons = this.buttons()
    const known = focused ?? opened.get(this.key)
    this.stand(Math.max(buttons.findIndex((button) => button.dataset.file === known), 0))
    if (focused !== undefined) buttons[this.place]?.focus()
    // Pages are turned below the grid: who turns one begins at its top.
    if (!first && this.start !== data.start && this.root.getBoundingClientRect().top < 0) this.root.scrollIntoView()
    this.start = data.start
  }

  tile({ file, picture, blank, colour, label, facts }) {
    const button = element("button", "tile")
    button.type = "button"
    button.title = file
    button.dataset.file = file
    button.setAttribute("aria-label", [label, facts, blank].filter(Boolean).join(", ") + ": open")
    button.onclick = () => {
      opened.set(this.key, file)
      this.open(file)
    }
    const mark = element("span", "mark")
    if (colour) Object.assign(mark.style, { background: colour, borderColor: colour })
    const kind = element("span", "class")
    kind.append(mark, label)
    const words = element("span", "words")
    words.append(kind, element("span", "facts", facts))
    button.append(picture ? image(picture) : element("span", "picture blank", blank), words)
    return button
  }

  // One tile is reached by Tab, the others from there.
  stand(place) {
    if (place < 0) return
    const buttons = this.buttons()
    this.place = place
    buttons.forEach((button, index) => (button.tabIndex = index === place ? 0 : -1))
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return
    const buttons = this.buttons()
    const columns = getComputedStyle(this.grid).gridTemplateColumns.split(" ").length
    const target = {
      ArrowLeft: this.place - 1,
      ArrowRight: this.place + 1,
      ArrowUp: this.place - columns,
      ArrowDown: this.place + columns,
      Home: 0,
      End: buttons.length - 1,
    }[event.key]
    if (target === undefined) return
    event.preventDefault()
    event.stopPropagation()
    buttons[target]?.focus()
  }

  buttons() {
    return [...this.grid.children]
  }
}

function element(name, classes, text = "") {
  const made = document.createElement(name)
  made.className = classes
  made.textContent = text
  return made
}

function image(source) {
  const made = element("img", "picture")
  made.alt = ""
  made.draggable = false
  made.src = source
  return made
}
