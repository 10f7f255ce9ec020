/**
 * Marking levels: which slice shows which disc. Each mark goes to Python at once, with those that it has not answered
 * yet, so that marks set in quick succession are all kept.
 */
import { button, element } from "./dom.js";
import { markingKeys } from "./keys.js";
import { Viewer } from "./viewer.js";

export class Marking {
  /** `tell`, set from outside, asks Python: ("marks", {...}) or ("confirm", {...}). */
  constructor(parent) {
    this.pending = new Map(); // level -> {slice, order}
    this.order = Date.now(); // goes on rising when the place is made again
    this.#build(parent);
    this.viewer = new Viewer(this.place, () => {}, { keys: markingKeys(this) });
  }

  /** Show the scan that Python describes; called at every rerun, also when nothing changed. */
  async update(data) {
    if (this.data?.key !== data.key) this.pending.clear();
    this.data = data;
    for (const [level, { order }] of this.pending) if (order <= data.answer) this.pending.delete(level);
    this.#list();
    await this.#show();
    this.root.dataset.scan = data.key;
  }

  close() { this.viewer.close(); }

  /** The slice in view shows this level. */
  mark(level, slice) {
    this.pending.set(level, { slice, order: ++this.order });
    const marks = [...this.pending].map(([name, each]) => ({ level: name, slice: each.slice }));
    this.tell("marks", { key: this.data.key, order: this.order, marks });
    this.#list();
    this.#show();
  }

  markNumber(index) { this.mark(this.data.marks[index].level, this.viewer.slice); }

  unmark() {
    const here = this.#marks().find(({ slice }) => slice === this.viewer.slice);
    if (here) this.mark(here.level, null);
  }

  /** Go to the next mark towards the head (1) or the foot (-1). */
  goToMark(by) {
    const beyond = this.#marks().map(({ slice }) => slice).filter((slice) => slice != null && (slice - this.viewer.slice) * by > 0);
    if (beyond.length) this.viewer.scrollTo(by > 0 ? Math.min(...beyond) : Math.max(...beyond));
  }

  confirm() { if (!this.data.confirmed && !this.pending.size) this.tell("confirm", { key: this.data.key, order: ++this.order }); }

  #marks() {
    return this.data.marks.map((mark) => ({ ...mark, ...(this.pending.has(mark.level) ? { slice: this.pending.get(mark.level).slice, waits: true } : {}) }));
  }

  #show() {
    const levels = this.#marks().filter(({ slice }) => slice != null).map(({ level, slice }) => ({ label: level, slice }));
    const { key, volume, slice } = this.data;
    return this.viewer.update({
      volume, slice, jump: key, selected: null, levels, boxes: { key, slice, regions: [] }, overlay: null,
    });
  }

  #list() {
    const rows = this.#marks().map(({ level, slice, waits }, index) => element("tr", {},
      element("th", { scope: "row" }, level),
      element("td", {}, slice == null ? "not in this scan" : `slice ${slice + 1}`,
        waits ? element("small", {}, " saving …") : null),
      element("td", {},
        button("Go", () => this.viewer.scrollTo(slice), { disabled: slice == null, "aria-label": `Go to ${level}` }),
        button("Here", () => this.mark(level, this.viewer.slice), { "aria-label": `${level} is the slice in view`, title: `key ${index + 1}` }),
        button("None", () => this.mark(level, null), { disabled: slice == null, "aria-label": `No ${level} in this scan` }))));
    const focused = this.rows.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    this.rows.replaceChildren(...rows);
    if (focused) [...this.rows.querySelectorAll("button")].find((each) => each.getAttribute("aria-label") === focused)?.focus();
    this.confirmButton.disabled = this.data.confirmed || this.pending.size > 0;
    this.confirmButton.textContent = this.data.confirmed ? "Confirmed" : "Confirm the levels";
  }

  #build(parent) {
    this.place = element("div", { class: "lssw-place" });
    this.rows = element("tbody");
    this.confirmButton = button("Confirm the levels", () => this.confirm(), { class: "lssw-primary", title: "Enter" });
    const head = element("thead", {}, element("tr", {}, ...["Level", "Slice", "Mark"].map((name) => element("th", { scope: "col" }, name))));
    const list = element("div", { class: "lssw-marks" }, element("table", { "aria-label": "Levels of this scan" }, head, this.rows), this.confirmButton);
    this.root = element("div", { class: "lssw lssw-beside" }, this.place, list);
    parent.replaceChildren(this.root);
  }
}
