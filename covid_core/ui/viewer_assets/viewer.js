// An image, the layer over it (the model's heat, or the lungs), and the controls of both. Everything happens here: no setting
// leaves the browser, and none needs a rerun. Of an image it knows the two pictures, where the layer lies, its text and a
// checksum.

const LARGEST_ZOOM = 6
const ZOOM_STEP = 1.4
const DOUBLE_CLICK_ZOOM = 2.5
const ARROW_STEP = 0.1 // of the frame
const AS_UPLOADED = { layer: true, opacity: 0.45, contrast: 0, brightness: 0, invert: false }
const WHOLE = { zoom: 1, x: 0.5, y: 0.5 } // x, y: the point of the image that lies at the frame's middle

// Settings by the key of the component. They stay while this page is open, over reruns, other images and other pages of the
// app, and are gone with the tab: of the browser's own storage nothing is used.
const states = new Map()
const viewers = new WeakMap()

export default function ({ data, parentElement }) {
  const root = parentElement.querySelector(".viewer")
  if (!viewers.has(root)) viewers.set(root, new Viewer(root))
  const viewer = viewers.get(root)
  viewer.show(data)
  return () => viewer.close()
}

class Viewer {
  constructor(root) {
    const element = (selector) => root.querySelector(selector)
    this.root = root
    this.frame = element(".frame")
    this.stage = element(".stage")
    this.image = element(".image")
    this.layer = element(".layer")
    this.layerTexts = { name: element(".layer-name"), opacity: element("label[for=opacity]") }
    this.factor = element(".factor")
    this.reset = element("#reset")
    this.sliders = ["opacity", "contrast", "brightness"].map((name) => element(`#${name}`))
    this.checks = ["layer", "invert"].map((name) => element(`#${name}`))
    this.pointers = new Map()
    this.resized = new ResizeObserver(() => this.paintView())
    this.listen(element("#in"), element("#out"))
  }

  // What Python gives. Texts become attributes, never markup.
  show(data) {
    const known = states.get(data.key)
    this.state = known ?? { settings: { ...AS_UPLOADED }, view: { ...WHOLE }, shown: data.film_id }
    states.set(data.key, this.state)
    const another = this.state.shown !== data.film_id
    if (another) {
      // A part of the last image would hide that this one has two sides.
      Object.assign(this.state, { view: { ...WHOLE }, shown: data.film_id })
    }
    this.size = data.size
    this.hasLayer = data.layer !== null
    this.root.style.setProperty("--aspect", `${data.size[0]} / ${data.size[1]}`)
    this.root.style.setProperty("--clearance", `${data.clearance}px`)
    this.image.alt = data.alt
    setSource(this.image, data.film)
    if (this.hasLayer) this.lay(data.layer)
    else this.layer.removeAttribute("src")
    for (const control of this.root.querySelectorAll("[data-layer]")) control.hidden = !this.hasLayer
    this.resized.observe(this.frame)
    this.paint()
    if (another && data.seek) this.frame.scrollIntoView({ block: "nearest" })
  }

  lay({ picture, box, name, opacity }) {
    // Who asks for another layer wants to see it, whether or not the last one was hidden.
    if (this.state.layerName !== undefined && this.state.layerName !== name) this.state.settings.layer = true
    this.state.layerName = name
    setSource(this.layer, picture)
    const [left, top, width, height] = box.map((share) => `${100 * share}%`)
    Object.assign(this.layer.style, { left, top, width, height })
    this.layerTexts.name.textContent = name
    this.layerTexts.opacity.textContent = opacity
  }

  close() {
    this.resized.disconnect()
  }

  listen(zoomIn, zoomOut) {
    for (const slider of this.sliders) slider.oninput = () => this.set({ [slider.id]: slider.valueAsNumber })
    for (const check of this.checks) check.onchange = () => this.set({ [check.id]: check.checked })
    zoomIn.onclick = () => this.zoomBy(ZOOM_STEP)
    zoomOut.onclick = () => this.zoomBy(1 / ZOOM_STEP)
    this.reset.onclick = () => {
      this.state.settings = { ...AS_UPLOADED }
      this.state.view = { ...WHOLE }
      this.paint()
    }
    const frame = this.frame
    frame.onkeydown = (event) => this.press(event)
    frame.ondblclick = (event) => {
      if (this.state.view.zoom > 1) this.look(WHOLE)
      else this.zoomBy(DOUBLE_CLICK_ZOOM, this.place(event))
    }
    frame.addEventListener("wheel", (event) => this.wheel(event), { passive: false })
    frame.onpointerdown = (event) => this.hold(event)
    frame.onpointermove = (event) => this.drag(event)
    frame.onpointerup = frame.onpointercancel = (event) => this.release(event)
  }

  set(changes) {
    Object.assign(this.state.settings, changes)
    this.paint()
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return
    const { settings, view } = this.state
    const act = {
      "+": () => this.zoomBy(ZOOM_STEP),
      "=": () => this.zoomBy(ZOOM_STEP), // the key of + without shift
      "-": () => this.zoomBy(1 / ZOOM_STEP),
      0: () => this.look(WHOLE),
      i: () => this.set({ invert: !settings.invert }),
      h: () => this.hasLayer && this.set({ layer: !settings.layer }),
      // Over an image that is seen whole the arrows scroll the page.
      ...(view.zoom > 1 && {
        ArrowLeft: () => this.move(ARROW_STEP * this.frame.clientWidth, 0),
        ArrowRight: () => this.move(-ARROW_STEP * this.frame.clientWidth, 0),
        ArrowUp: () => this.move(0, ARROW_STEP * this.frame.clientHeight),
        ArrowDown: () => this.move(0, -ARROW_STEP * this.frame.clientHeight),
      }),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key]
    if (!act) return
    event.preventDefault()
    event.stopPropagation()
    act()
  }

  // The wheel scrolls the page until the image is clicked: who scrolls past it must not get stuck. A pinch on a touchpad
  // comes as a wheel with the control key.
  wheel(event) {
    if (!event.ctrlKey && !this.frame.matches(":focus")) return
    if (event.deltaY > 0 && this.state.view.zoom === 1 && !event.ctrlKey) return
    event.preventDefault()
    const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1)
    this.zoomBy(Math.exp(-pixels * (event.ctrlKey ? 0.01 : 0.002)), this.place(event))
  }

  hold(event) {
    if (event.button !== 0) return
    this.frame.setPointerCapture(event.pointerId)
    this.pointers.set(event.pointerId, this.place(event))
    this.frame.classList.add("held")
  }

  drag(event) {
    const before = this.pointers.get(event.pointerId)
    if (!before) return
    const now = this.place(event)
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1]
    if (other) {
      this.zoomBy(distance(now, other) / Math.max(distance(before, other), 1), middle(before, other))
      this.move((now.x - before.x) / 2, (now.y - before.y) / 2)
    } else {
      this.move(now.x - before.x, now.y - before.y)
    }
    this.pointers.set(event.pointerId, now)
  }

  release(event) {
    this.pointers.delete(event.pointerId)
    if (!this.pointers.size) this.frame.classList.remove("held")
  }

  // Pixels from the middle of the frame.
  place(event) {
    const box = this.frame.getBoundingClientRect()
    return { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 }
  }

  // The point of the image under `place` stays there.
  zoomBy(factor, place = { x: 0, y: 0 }) {
    const { zoom, x, y } = this.state.view
    const [width, height] = this.fitted()
    const wanted = Math.min(zoom * factor, LARGEST_ZOOM)
    const closer = wanted < 1.001 ? 1 : wanted // steps in and out again end a rounding error beside 1
    const shift = 1 / zoom - 1 / closer
    this.look({ zoom: closer, x: x + (place.x / width) * shift, y: y + (place.y / height) * shift })
  }

  // The image goes with the pointer, by so many pixels of the screen.
  move(x, y) {
    const view = this.state.view
    const [width, height] = this.fitted()
    this.look({ ...view, x: view.x - x / (width * view.zoom), y: view.y - y / (height * view.zoom) })
  }

  look(view) {
    Object.assign(this.state.view, view)
    this.paintView()
  }

  // Width and height of the image when it is seen whole, pixels of the screen.
  fitted() {
    const scale = Math.min(this.frame.clientWidth / this.size[0], this.frame.clientHeight / this.size[1])
    return this.size.map((side) => Math.max(side * scale, 1))
  }

  paint() {
    const settings = this.state.settings
    const { width, level } = windowOf(settings)
    this.image.style.filter = filterOf(settings)
    this.layer.hidden = !(this.hasLayer && settings.layer)
    this.layer.style.opacity = settings.opacity
    const said = {
      opacity: [percent(settings.opacity)],
      contrast: [`W ${Math.round(width * 255)}`, `Window ${Math.round(width * 255)} of 255 greys`],
      brightness: [`L ${Math.round(level * 255)}`, `Level ${Math.round(level * 255)} of 255 greys`],
    }
    for (const slider of this.sliders) {
      const [short, long = short] = said[slider.id]
      slider.value = settings[slider.id]
      slider.setAttribute("aria-valuetext", long)
      slider.parentElement.querySelector(".value").textContent = short
    }
    for (const check of this.checks) check.checked = settings[check.id]
    this.sliders[0].disabled = !settings.layer
    this.paintView()
  }

  paintView() {
    const view = this.state.view
    const [width, height] = this.fitted()
    view.x = kept(view.x, this.frame.clientWidth / (width * view.zoom))
    view.y = kept(view.y, this.frame.clientHeight / (height * view.zoom))
    const left = this.frame.clientWidth / 2 - view.x * width * view.zoom
    const top = this.frame.clientHeight / 2 - view.y * height * view.zoom
    Object.assign(this.stage.style, {
      width: `${width}px`,
      height: `${height}px`,
      transform: `translate(${left}px, ${top}px) scale(${view.zoom})`,
    })
    this.frame.classList.toggle("zoomed", view.zoom > 1)
    this.factor.textContent = percent(view.zoom)
    const settings = this.state.settings
    const changed = view.zoom > 1 || Object.keys(AS_UPLOADED).some((name) => settings[name] !== AS_UPLOADED[name])
    this.reset.classList.toggle("changed", changed)
  }
}

// Width and middle of the window, as shares of the image's greys (DICOM PS3.3 C.11.2.1.2, with a linear function).
function windowOf({ contrast, brightness }) {
  return { width: 2 ** -contrast, level: (1 - brightness) / 2 }
}

// The window as CSS filters: grey * slope + start, cut off at black and white. Each filter cuts off as well, so their order
// and factors are such that the first cuts off nothing that the second would bring back.
function filterOf(settings) {
  const { width, level } = windowOf(settings)
  const slope = 1 / width
  const start = 0.5 - level / width
  const filters = []
  if (start < 0) filters.push(`brightness(${slope / (1 - 2 * start)})`, `contrast(${1 - 2 * start})`)
  else if (slope !== 1 || start > 0) filters.push(`contrast(${slope / (slope + 2 * start)})`, `brightness(${slope + 2 * start})`)
  if (settings.invert) filters.push("invert(1)")
  return filters.join(" ") || "none"
}

// A middle that leaves no black beside the image where it fills the frame; `seen` is the share of the image that fits.
function kept(middle, seen) {
  return seen >= 1 ? 0.5 : Math.min(Math.max(middle, seen / 2), 1 - seen / 2)
}

function percent(share) {
  return `${Math.round(share * 100)}%`
}

function setSource(image, source) {
  if (image.getAttribute("src") !== source) image.src = source
}

function distance(a, b) {
  return Math.hypot(a.x - b.x, a.y - b.y)
}

function middle(a, b) {
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 }
}
