/**
 * The reader's desk: one blinded case in the viewer, the answer form beside it, and the keys for both.
 *
 * Python describes a case, and the server alone keeps what is entered. A submitted case is covered by a neutral pause,
 * after which Python is asked for the next one; its images are loaded ahead meanwhile.
 */
import { aidBoxes, aidLine, aidOverlay, loadAid } from "./aid.js";
import { button, element } from "./dom.js";
import { Form, GRADES, UNKNOWN } from "./form.js";
import { READING, keyName } from "./keys.js";
import { loadVolume } from "./pixels.js";
import { recall, remember } from "./remembered.js";
import { NotSaving, Saving } from "./saving.js";
import { Viewer } from "./viewer.js";

const LOST_MS = 12_000; // without a next case for so long, the connection to the page is taken as lost
const READ_S = 3; // to read the sentence after the training
const GRACE_MS = 400; // an Enter that was meant for the case before does not submit the next
const PREVIEW = "Preview: nothing is kept";
const TRAINED = "The training is over. From here on every case counts, and nothing is told about your answers.";
const STATES = { saved: "Saved", saving: "Saving …", retrying: "Not saved yet, retrying …", failed: "Not saved." };
const FORM_HELP = [
  ["0 to 3", "grade of the marked region"], ["X", "marked region is not gradable"],
  ["Arrow up, down (or Tab)", "region before, after"], [". and ,", "more, less confidence"],
  ["Enter", "submit"], ["C", "comment (Esc leaves it)"], ["Q", "image quality"], ["V", "viewer"], ["G", "criteria"],
  ["H", "heat map on or off, where the model is shown"], ["?", "this list"],
];

export class Desk {
  /**
   * @param {boolean} preview  nothing is sent or kept: the principal investigator looks at what readers will see
   *
   * `tell`, set from outside, asks Python for what comes next: "done", "rest", "back", "leave" or "reload", with the token.
   */
  constructor(parent, { preview = false } = {}) {
    this.withHeat = true;
    this.form = new Form({ onChange: () => this.#changed(), onActive: (region) => this.#activate(region) });
    this.#build(parent);
    this.viewer = new Viewer(this.viewerPlace, () => {}, { reading: true });
    this.saving = new (preview ? NotSaving : Saving)({ onState: (state, message) => this.#showState(state, message), onStale: () => this.tell("reload", this.data.token) });
    this.root.addEventListener("keydown", (event) => this.#key(event));
    this.onKey = (event) => { if (event.target === document.body) this.#key(event); };
    document.addEventListener("keydown", this.onKey, { capture: true });
  }

  /** Show the case that Python describes; called at every rerun, also when nothing changed. */
  async update(data) {
    const before = this.data;
    this.data = data;
    if (before?.token === data.token && before.revision === data.revision) return this.#refresh(data);
    clearTimeout(this.losing);
    this.since = Date.now();
    this.aid = null;
    this.saving.begin(data);
    this.form.ask(data);
    this.form.lock(false);
    this.#head(data);
    this.#showState("saved", data.change ? STATES.saved : data.preview ? PREVIEW : "");
    this.submitButton.hidden = this.backButton.disabled = false;
    this.cover.hidden = true;
    this.root.dataset.token = data.token;
    if (!this.viewerPlace.contains(document.activeElement)) this.form.focus();
    await this.#showImages(data);
  }

  close() {
    document.removeEventListener("keydown", this.onKey, { capture: true });
    clearTimeout(this.losing);
    clearTimeout(this.pausing);
    this.saving.close();
    this.viewer.close();
  }

  // ---- a case -----------------------------------------------------------------------------------------------

  /** The same case again: another window may have entered something. */
  #refresh(data) {
    if (data.change <= this.saving.change) return;
    this.saving.begin(data);
    this.form.fill(data.entry);
    this.#showState("saved", "Entries from another window were loaded.");
  }

  async #showImages(data) {
    try {
      const [volume, aid] = await Promise.all([
        loadVolume(data.volume ?? { url: slab(data.token) }), data.aided ? loadAid(data.token) : null,
      ]);
      if (this.data.token !== data.token) return;
      this.aid = aid;
      if (aid) for (const { region } of data.regions) this.form.annotate(region, "model", aidLine(aid, region));
      await this.viewer.update(this.#scene(volume));
      if (data.next) loadVolume({ url: slab(data.next) }).catch(() => {}); // tried again when it is its turn
    } catch (error) {
      if (this.data.token === data.token) this.viewer.say(error.message, "alert");
    }
  }

  #scene(volume) {
    const { data, aid } = this;
    this.volume = volume;
    return {
      volume, slice: volume.middle, jump: data.token, selected: this.form.active, levels: [],
      boxes: { key: data.token, slice: aid?.slice ?? volume.middle, regions: aid ? aidBoxes(aid, data.regions) : [] },
      overlay: aid && this.withHeat ? aidOverlay(aid, this.form.active) : null,
    };
  }

  #activate(region) {
    this.criteria.replaceChildren(...(this.data.criteria[region] ?? []).map((text) => element("li", {}, text)));
    this.criteriaOf.textContent = this.data.regions.find((each) => each.region === region).label;
    if (this.aid && this.volume) this.viewer.update(this.#scene(this.volume));
  }

  #toggleHeat() {
    this.withHeat = !this.withHeat;
    this.heatButton.setAttribute("aria-pressed", this.withHeat);
    if (this.aid && this.volume) this.viewer.update(this.#scene(this.volume));
  }

  #changed() { this.saving.changed(this.form.entry); }

  async #submit() {
    if (this.#busy || Date.now() - this.since < GRACE_MS) return;
    const missing = this.form.missing();
    if (missing) {
      const [sentence, where, region] = missing;
      this.form.complain(sentence);
      this.form.activate(region);
      where.focus();
      return;
    }
    const { token } = this.data;
    this.form.lock(true);
    this.backButton.disabled = true;
    this.submitButton.disabled = true;
    try {
      const receipt = await this.saving.submit(this.form.entry);
      const feedback = this.data.feedback ? await loadFeedback(token) : null;
      if (this.data.token === token) this.#submitted(receipt, feedback);
    } catch (error) {
      this.form.lock(false);
      this.form.complain(error.message);
      this.#showState("failed", error.message);
    } finally {
      this.submitButton.disabled = false;
    }
  }

  get #busy() { return this.submitButton.disabled || !this.cover.hidden || !this.data; }

  #submitted(receipt, feedback) {
    if (this.data.preview) return this.form.lock(false);
    this.#showState("saved", receipt.already ? "Already submitted" : "Submitted");
    this.submitButton.hidden = true;
    if (feedback) this.#showFeedback(feedback);
    else this.#pause();
  }

  #showFeedback(feedback) {
    for (const { region } of this.data.regions) {
      const { own, reference, source } = feedback[region];
      const verdict = own === reference ? "as you said" : `you said ${graded(own)}`;
      this.form.annotate(region, own === reference ? "right" : "wrong",
        [element("span", {}, "Reference: ", element("strong", {}, graded(reference)), `, ${verdict}. `, element("small", {}, `(${source})`))]);
    }
    this.nextButton.textContent = this.#lastTraining ? "Go on to the counted cases" : "Next case";
    this.nextButton.hidden = false;
    if (this.#lastTraining) this.#showState("saved", TRAINED);
    this.nextButton.focus();
  }

  get #lastTraining() { return this.data.kind === "training" && this.data.number === this.data.total; }

  /** A neutral pause, and then the next case. */
  #pause() {
    this.nextButton.hidden = true;
    this.cover.replaceChildren(element("p", { role: "status" }, this.#lastTraining ? TRAINED : "Submitted."));
    this.cover.hidden = false;
    this.pausing = setTimeout(() => {
      this.tell("done", this.data.token);
      this.losing = setTimeout(() => this.#offerReload(), LOST_MS);
    }, 1000 * Math.max(this.data.pauseS, this.#lastTraining && !this.data.feedback ? READ_S : 0));
  }

  #offerReload() {
    const again = button("Continue", () => window.location.reload(), { class: "lssd-primary" });
    this.cover.replaceChildren(element("p", { role: "alert" }, "Your answer is stored. The connection to the page was lost."), again);
    again.focus();
  }

  // ---- building ---------------------------------------------------------------------------------------------

  #build(parent) {
    this.viewerPlace = element("div", { class: "lssd-viewer" });
    this.title = element("h2", { class: "lssd-title", "aria-live": "polite" });
    this.badges = element("div", { class: "lssd-badges" });
    this.state = element("span", { class: "lssd-state", role: "status" });
    this.progress = element("progress", { max: 1, value: 0, "aria-label": "Cases submitted" });
    this.backButton = button("Earlier cases", () => this.tell("back", this.data.token));
    this.leaveButton = button("Leave as it was", () => this.tell("leave", this.data.token));
    this.heatButton = button("Heat map", () => this.#toggleHeat(), { "aria-pressed": "true", title: "key H" });
    this.submitButton = button("Submit", () => this.#submit(), { class: "lssd-primary", title: "key Enter" });
    this.nextButton = button("Next case", () => this.#pause(), { class: "lssd-primary" });
    this.criteriaOf = element("span");
    this.criteria = element("ol", { start: 0 });
    this.criteriaBox = element("details", { class: "lssd-criteria" },
      element("summary", {}, "Criteria: ", this.criteriaOf), this.criteria);
    this.cover = element("div", { class: "lssd-cover" });
    this.cover.hidden = true;
    this.help = this.#helpDialog();
    const bar = element("div", { class: "lssd-bar" }, this.title, this.badges, this.state,
      element("div", { class: "lssd-actions" }, this.heatButton, this.leaveButton, this.backButton,
        button("Break", () => this.tell("rest", this.data.token)),
        button("Keys (?)", () => this.help.showModal(), { "aria-haspopup": "dialog" })));
    const side = element("div", { class: "lssd-side" }, this.form.root,
      element("div", { class: "lssd-submit" }, this.submitButton, this.nextButton), this.criteriaBox);
    this.root = element("section", { class: "lssd", "aria-label": "Reading desk" }, bar, this.progress,
      element("div", { class: "lssd-main" }, this.viewerPlace, side), this.cover, this.help);
    parent.replaceChildren(this.root);
  }

  #head({ number, total, level, kind, aided, revision, mayGoBack, note }) {
    const training = kind === "training";
    this.title.textContent = `${training ? "Training case" : "Case"} ${number} of ${total} · ${level}`;
    const badges = [
      note && [note, ""], training && ["Not counted", "lssd-training"], aided && ["With the model’s output", "lssd-aided"],
      revision > 1 && ["Open again: your former answer is shown", "lssd-training"],
    ];
    this.badges.replaceChildren(...badges.filter(Boolean).map(([text, kind]) => element("span", { class: `lssd-badge ${kind}` }, text)));
    this.progress.max = total;
    this.progress.value = number - 1;
    this.heatButton.hidden = !aided;
    this.backButton.hidden = !mayGoBack || revision > 1;
    this.leaveButton.hidden = !mayGoBack || revision === 1;
    this.nextButton.hidden = true;
  }

  #helpDialog() {
    const rows = FORM_HELP.map(([key, what]) => element("tr", {}, element("th", { scope: "row" }, key), element("td", {}, what)));
    const single = element("input", { type: "checkbox", id: "lssd-single" });
    single.checked = recall("single-keys", true);
    single.addEventListener("change", () => remember("single-keys", single.checked));
    this.singleKeys = single;
    const dialog = element("dialog", { class: "lssd-help", "aria-labelledby": "lssd-help-title" },
      element("h3", { id: "lssd-help-title" }, "Keys"), element("table", {}, ...rows),
      element("p", {}, READING.help),
      element("label", { for: "lssd-single" }, single, " Single-key shortcuts (off: only Tab, arrows and Enter work)"));
    dialog.append(button("Close", () => dialog.close(), { class: "lssd-primary" }));
    return dialog;
  }

  #showState(state, message) {
    this.state.textContent = message ? (state === "failed" ? `${STATES.failed} ${message}` : message) : message === "" ? "" : STATES[state];
    this.state.dataset.state = state;
  }

  // ---- keys -------------------------------------------------------------------------------------------------

  #key(event) {
    const { target } = event;
    if (event.defaultPrevented || this.help.open || event.ctrlKey || event.metaKey || event.altKey || !this.data) return;
    event.stopPropagation(); // Streamlit has single-key shortcuts of its own
    if (!this.cover.hidden) return;
    if (target.matches("textarea")) {
      if (event.key === "Escape") this.form.focus();
      return;
    }
    if (this.#act(keyName(event), target, event.repeat)) event.preventDefault();
  }

  /** @returns {boolean} whether the key was used */
  #act(key, target, repeated) {
    if (key === "Enter") return this.#enter(target, repeated);
    if (target.matches("select") || (target.matches("input[type=range]") && /^(Arrow|Home|End)/.test(key))) return false;
    if (key === "ArrowUp" || key === "ArrowDown") return this.#step(key === "ArrowUp" ? -1 : 1, target);
    if (/^Arrow/.test(key) && !this.viewer.stage.contains(target)) return false; // a radio group moves by itself
    if (key.length === 1 && key !== " " && !this.singleKeys.checked) return false;
    return this.#answer(key) || this.viewer.act(key);
  }

  #enter(target, repeated) {
    if (target.matches("button, summary, select, a")) return false;
    if (!repeated && !this.submitButton.hidden) this.#submit();
    return true;
  }

  #step(by, target) {
    this.form.step(by, { focus: !this.viewerPlace.contains(target) });
    return true;
  }

  #answer(key) {
    const open = !this.form.root.inert;
    const actions = {
      ...(open ? {
        ...Object.fromEntries(GRADES.map((_, grade) => [grade, () => this.form.choose(String(grade))])),
        x: () => this.form.choose(UNKNOWN), ".": () => this.form.moreSure(1), ",": () => this.form.moreSure(-1),
        c: () => this.form.comment.focus(), q: () => this.form.quality.select.focus(),
      } : {}),
      v: () => this.viewer.stage.focus(), g: () => { this.criteriaBox.open = !this.criteriaBox.open; },
      h: () => { if (this.data.aided) this.#toggleHeat(); }, "?": () => this.help.showModal(),
    };
    actions[key]?.();
    return key in actions;
  }
}

/** The reference of a training case that was just submitted; without it the reading goes on. */
async function loadFeedback(token) {
  const response = await fetch(`/api/cases/${token}/feedback`, { credentials: "same-origin", cache: "no-store" }).catch(() => null);
  return response?.ok ? response.json() : null;
}

const slab = (token) => `/api/cases/${token}/slab`;
const graded = (grade) => (grade == null ? "not gradable" : `${grade} ${GRADES[grade]}`);
