/** The answer form: for each region a grade, or why there is none, and how sure; then the image and a comment. */
import { element } from "./dom.js";

const GRADES = ["normal", "mild", "moderate", "severe"];
const UNKNOWN = "not_gradable";
const STEP = 5;

/** What a region's answer holds before anything is entered. */
const EMPTY = { grade: null, confidence: null, not_gradable: "" };

let made = 0;

export class Form {
  /**
   * @param {() => void} onChange  the reader changed something
   * @param {(region: string) => void} onActive  another region is being graded
   */
  constructor({ onChange, onActive }) {
    Object.assign(this, { onChange, onActive, active: null });
    this.root = element("form", { class: "lssd-form", "aria-label": "Your answer", novalidate: true });
    this.root.addEventListener("submit", (event) => event.preventDefault());
  }

  /** Ask afresh. @param {object} data  a case as Python describes it */
  ask(data) {
    this.id = `lssd-${++made}`;
    this.asked = data;
    this.off = new Set(); // regions said to be not gradable whose reason is not chosen yet
    this.fields = new Map(data.regions.map((region) => [region.region, this.#region(region)]));
    this.quality = this.#choice("Image quality", data.qualityReasons, "Good", "lssd-quality");
    this.comment = element("textarea", { rows: 1, maxlength: 2000, id: `${this.id}-comment` });
    this.comment.addEventListener("input", () => this.onChange());
    this.problem = element("div", { class: "lssd-problem", role: "alert" });
    this.root.replaceChildren(
      ...[...this.fields.values()].map((field) => field.card),
      element("div", { class: "lssd-rest" }, this.quality.label,
        element("label", { class: "lssd-quality", for: `${this.id}-comment` }, element("span", {}, "Comment (optional)"), this.comment)),
      this.problem,
    );
    this.fill(data.entry);
    this.activate(data.regions[0].region);
  }

  /** Show an entry that the server holds. */
  fill(entry) {
    for (const [region, field] of this.fields) this.#fillRegion(field, entry.regions[region] ?? EMPTY, region);
    this.quality.select.value = entry.image_quality;
    this.comment.value = entry.comment;
    this.complain("");
  }

  get entry() {
    const regions = [...this.fields].map(([region, field]) => [region, this.#regionEntry(field)]);
    return { regions: Object.fromEntries(regions), image_quality: this.quality.select.value, comment: this.comment.value };
  }

  /** What still has to be entered: [sentence, element to go to], or null. */
  missing() {
    for (const [region, field] of this.fields) {
      const { grade, confidence, not_gradable: reason } = this.#regionEntry(field);
      const name = this.asked.regions.find((each) => each.region === region).label;
      if (this.#isOff(field) && !reason) return [`${name}: say why it is not gradable.`, field.reason.select, region];
      if (grade == null && !this.#isOff(field)) return [`${name}: choose a grade, or “not gradable”.`, field.radios[0], region];
      if (this.asked.askConfidence && !this.#isOff(field) && confidence == null) {
        return [`${name}: say how sure you are.`, field.slider, region];
      }
    }
    return null;
  }

  complain(sentence) { this.problem.textContent = sentence; }

  activate(region) {
    this.active = region;
    for (const [name, field] of this.fields) field.card.classList.toggle("lssd-active", name === region);
    this.onActive(region);
  }

  /** Make the region before or after the active one active, and put the keyboard there unless it is in the viewer. */
  step(by, { focus }) {
    const names = [...this.fields.keys()];
    const next = names[Math.min(Math.max(names.indexOf(this.active) + by, 0), names.length - 1)];
    this.activate(next);
    if (focus) this.focus();
    else this.fields.get(next).card.scrollIntoView({ block: "nearest" });
  }

  focus() {
    const { radios } = this.fields.get(this.active);
    (radios.find((radio) => radio.checked) ?? radios[0]).focus();
  }

  choose(value) {
    const field = this.fields.get(this.active);
    field.radios.find((radio) => radio.value === value).checked = true;
    this.#graded(field);
    if (value === UNKNOWN) field.reason.select.focus();
  }

  moreSure(by) {
    const field = this.fields.get(this.active);
    if (!field.slider || this.#isOff(field)) return;
    const value = field.sure ? Number(field.slider.value) + by * STEP : 50;
    this.#setConfidence(field, Math.min(Math.max(value, 0), 100));
    this.onChange();
  }

  lock(locked) { this.root.inert = locked; }

  /** Lines under each region: the model's output, or after a training case the reference. */
  annotate(region, kind, content) {
    const { card } = this.fields.get(region);
    card.querySelector(`.lssd-${kind}`)?.remove();
    if (content) card.append(element("div", { class: `lssd-note lssd-${kind}` }, ...content));
  }

  // ---- one region -------------------------------------------------------------------------------------------

  #region({ region, label, side }) {
    const name = `${this.id}-${region}`;
    const radios = [...GRADES.map((_, grade) => String(grade)), UNKNOWN].map((value) =>
      element("input", { type: "radio", name, value, id: `${name}-${value}` }));
    const labels = radios.map((radio, grade) => element("label", { class: "lssd-grade", for: radio.id }, radio,
      ...(radio.value === UNKNOWN ? [element("span", {}, "Not gradable")]
        : [element("b", {}, String(grade)), element("span", {}, GRADES[grade])])));
    const field = { radios, reason: this.#choice("Why not gradable", this.asked.notGradableReasons, "Choose a reason …", "lssd-reason") };
    field.hint = element("small", {}, side ?? "");
    field.card = element("fieldset", { class: "lssd-region", "data-region": region },
      element("legend", {}, label, " ", field.hint), element("div", { class: "lssd-grades" }, ...labels), field.reason.label);
    if (this.asked.askConfidence) field.card.append(this.#confidence(field, label));
    for (const radio of radios) radio.addEventListener("change", () => this.#graded(field));
    field.card.addEventListener("focusin", () => { if (this.active !== region) this.activate(region); });
    field.card.addEventListener("pointerdown", () => { if (this.active !== region) this.activate(region); });
    return field;
  }

  #confidence(field, label) {
    field.slider = element("input", { type: "range", min: 0, max: 100, step: STEP, value: 50, "aria-label": `Confidence, ${label}, 0 to 100` });
    field.shown = element("output", {});
    const set = () => { this.#setConfidence(field, Number(field.slider.value)); this.onChange(); };
    field.slider.addEventListener("input", set);
    field.slider.addEventListener("pointerup", set); // a click on the middle changes no value
    field.slider.addEventListener("keydown", (event) => { if (event.key === " ") { event.preventDefault(); set(); } });
    field.confidence = element("label", { class: "lssd-confidence" }, element("span", {}, "Confidence"), field.slider, field.shown);
    return field.confidence;
  }

  #fillRegion(field, { grade, confidence, not_gradable: reason }, region) {
    const off = Boolean(reason) || this.off.has(region);
    const value = off ? UNKNOWN : grade == null ? null : String(grade);
    for (const radio of field.radios) radio.checked = radio.value === value;
    field.reason.select.value = reason;
    if (field.slider) this.#setConfidence(field, confidence);
    this.#showOff(field);
  }

  #regionEntry(field) {
    const chosen = field.radios.find((radio) => radio.checked)?.value;
    const off = chosen === UNKNOWN;
    return {
      grade: chosen == null || off ? null : Number(chosen),
      confidence: field.slider && field.sure && !off ? Number(field.slider.value) : null,
      not_gradable: off ? field.reason.select.value : "",
    };
  }

  #graded(field) {
    this.#showOff(field);
    this.complain("");
    this.onChange();
  }

  #isOff(field) { return field.radios.at(-1).checked; }

  #showOff(field) {
    const off = this.#isOff(field);
    field.reason.label.hidden = !off;
    if (field.confidence) field.confidence.hidden = off;
    const region = field.card.dataset.region;
    if (off) this.off.add(region);
    else this.off.delete(region);
  }

  #setConfidence(field, value) {
    field.sure = value != null;
    field.slider.value = value ?? 50;
    field.confidence.classList.toggle("lssd-unset", value == null);
    field.shown.textContent = value == null ? "not set" : `${value} %`;
    field.slider.setAttribute("aria-valuetext", value == null ? "not set" : `${value} percent`);
    if (value != null) this.complain("");
  }

  #choice(text, options, first, kind) {
    const select = element("select", { "aria-label": text }, element("option", { value: "" }, first),
      ...options.map((option) => element("option", { value: option }, option)));
    select.addEventListener("change", () => { this.complain(""); this.onChange(); });
    return { select, label: element("label", { class: kind }, element("span", {}, text), select) };
  }
}

export { GRADES, UNKNOWN };
