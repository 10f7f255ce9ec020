/** Region boxes and the heat map, drawn over the slice in an SVG that follows zoom and pan. */
const NAMES = { central_canal: "Canal", left_lateral_recess: "Left recess", right_lateral_recess: "Right recess" };
const MIN_PX = 4; // the smallest box that can still be grabbed, in image pixels
/** What an arrow key adds to (row, column). */
export const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const svg = (name, attributes = {}) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

export class Boxes {
  /**
   * @param {SVGSVGElement} layer
   * @param {{toCanvas, toImage}} mapping  between (row, column) pixels and canvas (x, y)
   * @param {(region: object) => void} onMoved  called once a box was let go, moved or sized
   * @param {(region: string) => void} onSelected
   * @param {boolean} fixed  boxes are only looked at
   */
  constructor(layer, mapping, { onMoved, onSelected, fixed = false }) {
    Object.assign(this, { layer, mapping, onMoved, onSelected, fixed });
    this.regions = [];
    this.selected = null;
    this.heat = null;
    this.opacity = 0.5;
  }

  set(regions) {
    this.regions = regions.map((region) => ({ ...region, box: region.box && [...region.box], moved: false }));
  }

  place(name, box) {
    const region = this.regions.find((each) => each.region === name);
    region.box = box;
    region.moved = true;
    this.onMoved(region);
  }

  /** Begin a new box of a region where the pointer is; a click that draws nothing leaves the region without a box. */
  begin(event, region) {
    const start = this.#pixel(event);
    this.#follow((move) => {
      const [row, column] = this.#pixel(move);
      region.box = [Math.min(start[0], row), Math.min(start[1], column), Math.max(start[0], row), Math.max(start[1], column)];
      if (!this.dragging) this.onSelected(region.region); // makes the group that the drag then sizes
    }, () => {
      const [row0, column0, row1, column1] = region.box;
      if (row1 - row0 >= MIN_PX && column1 - column0 >= MIN_PX) region.moved = true;
      else region.box = null;
      this.onMoved(region);
    });
  }

  /** Move a box, or with `sized` its lower right corner, by whole pixels. */
  shift(region, [rows, columns], { sized }) {
    region.box = dragged({ at: [0, 0], box: region.box }, [rows, columns], sized ? "11" : "move");
    region.moved = true;
    this.onMoved(region);
  }

  draw({ proposed }) {
    if (this.dragging) return this.#update();
    const focused = this.layer.getRootNode().activeElement?.dataset?.region;
    this.layer.replaceChildren();
    if (this.heat && !proposed) this.layer.append(this.#heatImage());
    for (const region of this.regions) if (region.box) this.layer.append(this.#group(region, proposed));
    this.#update();
    if (focused) this.layer.querySelector(`[data-region="${focused}"]`)?.focus();
  }

  #heatImage() {
    return svg("image", { class: "lssv-heat", preserveAspectRatio: "none", href: this.heat.picture, "data-url": this.heat.url });
  }

  #group(region, proposed) {
    const name = NAMES[region.region] ?? region.region;
    const described = `${name} box${region.grade == null ? "" : `, grade ${region.grade}`}.`;
    const group = svg("g", {
      class: `lssv-box lssv-${region.region}`, "data-region": region.region,
      ...(this.fixed ? { role: "img", "aria-label": described }
        : { tabindex: 0, role: "button", "aria-label": `${described} Arrow keys move it, with shift they size it.` }),
    });
    group.classList.toggle("lssv-selected", region.region === this.selected);
    group.classList.toggle("lssv-proposed", proposed || Boolean(region.proposed));
    group.append(svg("rect", { class: "lssv-shape" }));
    const text = svg("text", { class: "lssv-name" });
    text.textContent = region.grade == null || region.moved ? name : `${name} ${region.grade}`;
    group.append(text);
    if (!this.fixed) this.#makeMovable(group, region);
    return group;
  }

  #makeMovable(group, region) {
    group.querySelector(".lssv-shape").after(svg("rect", { class: "lssv-grip", "data-part": "move" }));
    for (const corner of ["00", "01", "10", "11"]) group.append(svg("rect", { class: "lssv-corner", "data-part": corner }));
    group.addEventListener("pointerdown", (event) => this.#grab(event, region));
    group.addEventListener("keydown", (event) => this.#nudge(event, region));
  }

  #update() {
    if (this.heat) {
      const image = this.layer.querySelector(".lssv-heat");
      if (image) this.#fit(image, this.heat.box, { opacity: this.opacity });
    }
    for (const region of this.regions) {
      const group = this.layer.querySelector(`g[data-region="${region.region}"]`);
      if (!group) continue;
      for (const rect of group.querySelectorAll(".lssv-shape, .lssv-grip")) this.#fit(rect, region.box);
      const [x0, y0] = this.mapping.toCanvas(region.box[0], region.box[1]);
      const [x1, y1] = this.mapping.toCanvas(region.box[2], region.box[3]);
      const text = group.querySelector("text");
      text.setAttribute("x", region.region === "right_lateral_recess" ? x0 : region.region === "left_lateral_recess" ? x1 : (x0 + x1) / 2);
      text.setAttribute("y", region.region === "central_canal" ? y0 - 5 : y1 + 14);
      for (const corner of group.querySelectorAll(".lssv-corner")) {
        const [row, column] = corner.dataset.part;
        corner.setAttribute("x", (column === "0" ? x0 : x1) - 4);
        corner.setAttribute("y", (row === "0" ? y0 : y1) - 4);
      }
    }
  }

  #fit(element, box, more = {}) {
    const [x0, y0] = this.mapping.toCanvas(box[0], box[1]);
    const [x1, y1] = this.mapping.toCanvas(box[2], box[3]);
    const all = { x: x0, y: y0, width: Math.max(x1 - x0, 0), height: Math.max(y1 - y0, 0), ...more };
    for (const [key, value] of Object.entries(all)) element.setAttribute(key, value);
  }

  #grab(event, region) {
    event.preventDefault();
    event.stopPropagation();
    this.onSelected(region.region);
    const part = event.target.dataset.part ?? "move";
    const start = { at: this.#pixel(event), box: [...region.box] };
    this.#follow((move) => {
      region.box = dragged(start, this.#pixel(move), part);
      region.moved = true;
    }, () => this.onMoved(region));
  }

  /** Call `drag` while the pointer moves, and `done` once it was let go, if it moved at all. */
  #follow(drag, done) {
    const move = (event) => {
      drag(event);
      this.dragging = true;
      this.#update();
    };
    const drop = () => {
      for (const [name, listener] of listeners) window.removeEventListener(name, listener);
      const wasDragged = this.dragging;
      this.dragging = false;
      if (wasDragged) done();
    };
    const listeners = [["pointermove", move], ["pointerup", drop], ["pointercancel", drop]];
    for (const [name, listener] of listeners) window.addEventListener(name, listener);
  }

  #nudge(event, region) {
    const step = STEPS[event.key];
    if (!step) {
      if (event.key === "Enter" || event.key === " ") this.onSelected(region.region);
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    this.shift(region, step, { sized: event.shiftKey });
  }

  #pixel(event) {
    const edges = this.layer.getBoundingClientRect();
    return this.mapping.toImage(event.clientX - edges.left, event.clientY - edges.top);
  }
}

/** The box after the pointer went from `start.at` to `now` (row, column), holding its middle or one corner. */
function dragged(start, now, part) {
  const [rows, columns] = [now[0] - start.at[0], now[1] - start.at[1]];
  const box = [...start.box];
  if (part === "move") return box.map((value, i) => value + (i % 2 ? columns : rows));
  if (part[0] === "0") box[0] = Math.min(box[0] + rows, box[2] - MIN_PX);
  else box[2] = Math.max(box[2] + rows, box[0] + MIN_PX);
  if (part[1] === "0") box[1] = Math.min(box[1] + columns, box[3] - MIN_PX);
  else box[3] = Math.max(box[3] + columns, box[1] + MIN_PX);
  return box;
}
