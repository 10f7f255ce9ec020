/** A sagittal picture through the middle of the canal, with a line for each level and for the slice in view. */
const WIDTH = 150; // CSS pixels across; the height follows from the millimetres
const FRONT_MM = 110, BACK_MM = 70; // how far the picture reaches before and behind the canal
const svg = (name, attributes = {}) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

export class Scout {
  /** @param {(slice: number) => void} onChoose called with the slice that was clicked */
  constructor(parent, onChoose) {
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", "Sagittal overview with the disc levels");
    this.lines = svg("svg", { class: "lssv-lines", "aria-hidden": "true" });
    this.frame = document.createElement("div");
    this.frame.className = "lssv-scout";
    this.frame.append(this.canvas, this.lines);
    this.frame.addEventListener("click", (event) => this.volume && onChoose(this.#sliceAt(event)));
    parent.append(this.frame);
  }

  /** @param {[number, number]} middle  (row, column) of the canal */
  show(volume, [row, column], levels) {
    this.volume = volume;
    this.levels = levels;
    const { slices, rows, spacing, positions } = volume;
    this.low = positions[0];
    this.height_mm = Math.max(positions.at(-1) - positions[0], 1);
    this.frame.hidden = slices < 3;
    if (this.frame.hidden) return;
    this.firstRow = Math.max(row - FRONT_MM / spacing[0], 0);
    this.shownRows = Math.min(row + BACK_MM / spacing[0], rows) - this.firstRow;
    const across = this.shownRows * spacing[0];
    this.canvas.width = WIDTH;
    this.canvas.height = Math.round((WIDTH * this.height_mm) / across);
    this.lines.setAttribute("viewBox", `0 0 ${WIDTH} ${this.canvas.height}`);
    this.column = Math.round(Math.min(Math.max(column, 0), volume.columns - 1));
  }

  /** Paint at the viewer's window. */
  paint({ width, level }) {
    if (!this.volume || this.frame.hidden) return;
    const { rows, columns, hu } = this.volume;
    const context = this.canvas.getContext("2d");
    const picture = context.createImageData(this.canvas.width, this.canvas.height);
    for (let y = 0; y < this.canvas.height; y++) {
      const place = this.#fractionalSlice(this.#mm(y));
      const below = Math.floor(place), above = Math.min(below + 1, this.volume.slices - 1);
      for (let x = 0; x < this.canvas.width; x++) {
        const row = Math.min(Math.floor(this.firstRow + ((x + 0.5) * this.shownRows) / WIDTH), rows - 1);
        const a = hu[(below * rows + row) * columns + this.column];
        const b = hu[(above * rows + row) * columns + this.column];
        const grey = ((a + (b - a) * (place - below) - level) / width + 0.5) * 255;
        picture.data.set([grey, grey, grey, 255], (y * this.canvas.width + x) * 4);
      }
    }
    context.putImageData(picture, 0, 0);
  }

  mark(slice) {
    if (!this.volume || this.frame.hidden) return;
    this.lines.replaceChildren();
    for (const level of this.levels) this.#line(this.volume.positions[level.slice], level.label, "lssv-level");
    this.#line(this.volume.positions[slice], "", "lssv-now");
  }

  #line(position, label, kind) {
    const y = this.canvas.height * (1 - (position - this.low) / this.height_mm);
    this.lines.append(svg("line", { x1: 0, x2: WIDTH, y1: y, y2: y, class: kind }));
    const text = svg("text", { x: 3, y: Math.max(y - 2, 9), class: "lssv-level-name" });
    text.textContent = label;
    this.lines.append(text);
  }

  #mm(y) { return this.low + this.height_mm * (1 - (y + 0.5) / this.canvas.height); }

  #fractionalSlice(mm) {
    const { positions } = this.volume;
    let above = positions.findIndex((position) => position >= mm);
    if (above < 0) above = positions.length - 1;
    if (above === 0) return 0;
    return above - 1 + (mm - positions[above - 1]) / (positions[above] - positions[above - 1]);
  }

  #sliceAt(event) {
    const edges = this.canvas.getBoundingClientRect();
    const y = ((event.clientY - edges.top) / edges.height) * this.canvas.height;
    return Math.round(this.#fractionalSlice(this.#mm(y)));
  }
}
