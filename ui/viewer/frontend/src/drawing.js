/**
 * Drawing regions: the boxes of one case on every slice, proposals to accept, copies to neighbours, and saving.
 *
 * Python describes the case and what is saved. What is drawn and not saved stays here, also while other cases are looked
 * at, until it is saved or discarded.
 */
import { button, element } from "./dom.js";
import { drawingKeys } from "./keys.js";
import { Viewer } from "./viewer.js";

const ANSWER_MS = 15_000; // without an answer for so long, the connection to the page is taken as lost
const unsaved = new Map(); // case key -> Work

/** What was changed in one case since it was saved: pages by slice, and where a copied page came from. */
class Work {
  constructor(revision) {
    Object.assign(this, { revision, pages: new Map(), changed: new Set(), copiedFrom: new Map() });
  }
}

export class Drawing {
  /** `tell`, set from outside, hands what is to be saved to Python. */
  constructor(parent) {
    this.#build(parent);
    this.viewer = new Viewer(this.place, () => {}, { keys: drawingKeys(this), editor: this });
    this.onLeave = (event) => { if ([...unsaved.values()].some((work) => work.changed.size)) event.preventDefault(); };
    window.addEventListener("beforeunload", this.onLeave);
  }

  /** Show the case that Python describes; called at every rerun, also when nothing changed. */
  async update(data) {
    const answered = this.data?.answer !== data.answer;
    const other = this.data?.key !== data.key;
    this.data = data;
    if (answered || other) this.#answered();
    if (answered) this.say(data.problem);
    else if (other) this.say("");
    if (data.saved && data.answer === this.sent) unsaved.delete(data.saved);
    if (unsaved.get(data.key)?.revision !== data.revision && !this.#isDirty()) unsaved.delete(data.key);
    await this.viewer.update({
      volume: data.volume, slice: data.slice, jump: data.key, selected: other ? data.regions[0].region : this.viewer.boxes.selected,
      levels: data.levels, boxes: { key: data.key, slice: data.slice, regions: [] }, overlay: null,
    });
    this.root.dataset.case = data.key;
  }

  close() {
    clearTimeout(this.waiting);
    window.removeEventListener("beforeunload", this.onLeave);
    this.viewer.close();
  }

  // ---- what the viewer asks ----------------------------------------------------------------------------------

  /** The regions of a slice, each with its box or null. */
  regionsAt(slice) {
    const { pages } = this.#work();
    if (!pages.has(slice)) pages.set(slice, this.data.regions.map((each) => ({ ...each, ...this.#given(slice, each.region) })));
    return pages.get(slice);
  }

  changed(region) {
    if (!region.box && !region.moved) return; // a click that drew nothing
    region.proposed = false;
    this.#touch(this.viewer.slice);
    if (region.box) this.#selectNext(region);
  }

  stateOf({ box, moved, proposed }) {
    if (!box) return ": no box";
    return proposed ? ": proposed" : moved ? ": not saved" : "";
  }

  /** The slice in view changed, or what is drawn on it. */
  shown() {
    if (!this.data || !this.viewer?.volume) return;
    const here = this.regionsAt(this.viewer.slice);
    this.acceptButton.disabled = !here.some(({ proposed }) => proposed);
    const nothing = !here.some(({ box, proposed }) => box && !proposed);
    this.upButton.disabled = nothing || this.viewer.slice >= this.viewer.volume.slices - 1;
    this.downButton.disabled = nothing || this.viewer.slice === 0;
    const slices = this.#work().changed.size;
    this.saveButton.disabled = !slices || Boolean(this.sending);
    this.nextButton.disabled = Boolean(this.sending);
    this.discardButton.hidden = !slices;
    this.state.textContent = this.sending ? "Saving …" : slices ? `Not saved: ${slices === 1 ? "1 slice" : `${slices} slices`}` : "";
    this.root.dataset.unsaved = slices;
  }

  say(sentence) { this.problem.textContent = sentence ?? ""; }

  // ---- what the person does ----------------------------------------------------------------------------------

  /** Take all proposals of the slice in view as one's own. */
  accept() {
    const proposed = this.regionsAt(this.viewer.slice).filter((region) => region.proposed);
    for (const region of proposed) Object.assign(region, { proposed: false, moved: true });
    if (proposed.length) this.#touch(this.viewer.slice);
    this.viewer.refresh();
  }

  /** Copy the boxes of the slice in view to its neighbour and go there. @param {1 | -1} by */
  copy(by) {
    const from = this.viewer.slice, to = from + by;
    const own = this.regionsAt(from).filter(({ box, proposed }) => box && !proposed);
    if (!own.length || to < 0 || to >= this.viewer.volume.slices) return;
    const target = this.regionsAt(to);
    if (target.some(({ box, proposed }) => box && !proposed)) {
      this.say(`Slice ${to + 1} has boxes already; remove them there first to copy over them.`);
    } else {
      for (const { region, box } of own) {
        Object.assign(target.find((each) => each.region === region), { box: [...box], proposed: false, moved: true });
      }
      this.#work().copiedFrom.set(to, from);
      this.#work().changed.delete(to); // it is saved after the slice that it was copied from
      this.#touch(to);
    }
    this.viewer.scrollTo(to);
  }

  goToLevel() { this.viewer.scrollTo(this.data.slice); }

  discard() {
    unsaved.delete(this.data.key);
    this.say("");
    this.viewer.refresh();
  }

  /** Hand all changed slices to Python; with `next`, also ask for the next case. */
  save({ next }) {
    const { changed, copiedFrom } = this.#work();
    if (this.sending || (!changed.size && !next)) return;
    const slices = [...changed].map((slice) => ({ slice, copied_from: copiedFrom.get(slice) ?? null, boxes: this.#drawn(slice) }));
    this.sent = `${Date.now()}-${Math.random()}`;
    this.sending = true;
    this.waiting = setTimeout(() => this.#lost(), ANSWER_MS);
    this.say("");
    this.shown();
    this.tell({ key: this.data.key, answer: this.sent, slices, next });
  }

  // ---- within ------------------------------------------------------------------------------------------------

  #work() {
    const { key, revision } = this.data;
    if (!unsaved.has(key)) unsaved.set(key, new Work(revision));
    return unsaved.get(key);
  }

  #isDirty() { return Boolean(unsaved.get(this.data.key)?.changed.size); }

  #given(slice, region) {
    const mine = this.data.mine[slice]?.[region], proposed = this.data.proposed[slice]?.[region];
    if (mine) return { box: [...mine], proposed: false, moved: false };
    return { box: proposed ? [...proposed] : null, proposed: Boolean(proposed), moved: false };
  }

  #drawn(slice) {
    const own = this.regionsAt(slice).filter(({ box, proposed }) => box && !proposed);
    return Object.fromEntries(own.map(({ region, box }) => [region, box]));
  }

  #touch(slice) {
    this.#work().changed.add(slice);
    this.say("");
    this.shown();
  }

  /** Once a region is drawn, the next one without a box is the one to draw. */
  #selectNext(region) {
    const next = this.regionsAt(this.viewer.slice).find(({ box }) => !box);
    if (next && this.drawn !== region) this.viewer.boxes.selected = next.region;
    this.drawn = region;
  }

  #answered() {
    clearTimeout(this.waiting);
    this.sending = false;
  }

  #lost() {
    this.sending = false;
    this.say("Nothing came back from the server: what you drew is still here. Check the connection and save again.");
    this.shown();
  }

  #build(parent) {
    this.place = element("div");
    this.problem = element("div", { class: "lssw-problem", role: "status" });
    this.state = element("span", { class: "lssw-state", role: "status" });
    this.acceptButton = button("Accept all", () => this.accept(), { title: "Take the dashed boxes of this slice as they are (key A)" });
    this.downButton = button("Copy to slice below", () => this.copy(-1), { title: "Shift and page down" });
    this.upButton = button("Copy to slice above", () => this.copy(1), { title: "Shift and page up" });
    this.discardButton = button("Discard changes", () => this.discard());
    this.saveButton = button("Save", () => this.save({ next: false }));
    this.nextButton = button("Save, next case", () => this.save({ next: true }), { class: "lssw-primary", title: "Enter" });
    this.root = element("div", { class: "lssw" },
      element("div", { class: "lssw-bar" }, this.acceptButton, this.downButton, this.upButton,
        button("Level's slice", () => this.goToLevel(), { title: "key G" }),
        element("span", { class: "lssw-actions" }, this.state, this.discardButton, this.saveButton, this.nextButton)),
      this.problem, this.place);
    parent.replaceChildren(this.root);
  }
}
