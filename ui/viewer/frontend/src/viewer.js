/** The CT viewer: one axial stack with window, zoom, pan, length, region boxes, a heat map and a sagittal scout. */
import { Enums, RenderingEngine, getRenderingEngine, init as initCore, utilities } from "@cornerstonejs/core";
import {
  Enums as ToolEnums, LengthTool, PanTool, StackScrollTool, ToolGroupManager, WindowLevelTool, ZoomTool, addTool,
  annotation, init as initTools,
} from "@cornerstonejs/tools";
import { boneCentre } from "./bone.js";
import { Boxes, STEPS } from "./boxes.js";
import { heatPicture } from "./heat.js";
import { button, element } from "./dom.js";
import { GRADING, PRESETS, READING, keyName } from "./keys.js";
import { imageId, loadOverlay, loadVolume, registerPixels, releaseVolume, slicePixels } from "./pixels.js";
import { recall, remember } from "./remembered.js";
import { Scout } from "./scout.js";

const MODES = { window: WindowLevelTool, pan: PanTool, zoom: ZoomTool, length: LengthTool };
const MODE_LABELS = { draw: "Draw", window: "Window", pan: "Pan", zoom: "Zoom", length: "Length" };
const REPORT_AFTER_MS = 350; // scrolling tells Python where it stopped, not every slice on the way
const PLACED_BOX_MM = 18;
const SPINE_MM = 150; // what is first in view around the boxes: a vertebra with its muscles

let started = false;
function startCornerstone() {
  if (started) return;
  initCore();
  initTools();
  registerPixels();
  for (const tool of [StackScrollTool, ...Object.values(MODES)]) addTool(tool);
  started = true;
}

let created = 0;

export class Viewer {
  /**
   * @param {(view: {slice: number, boxes: object}) => void} report  tells Python what is in view
   * @param {boolean} reading  a slab for a reader: boxes stay where they are, the desk around it hands on the keys, and
   *   the window is kept from case to case
   * @param {object} keys  what the keys do, from keys.js
   * @param {object} editor  holds boxes for every slice and lets them be drawn: `regionsAt(slice)`, `changed(region)`,
   *   `stateOf(region)` and `shown()`
   */
  constructor(parent, report, { reading = false, keys = reading ? READING : GRADING, editor = null } = {}) {
    startCornerstone();
    Object.assign(this, { report, reading, keys, editor });
    this.id = `lss-${++created}`;
    this.mode = editor ? "draw" : "window";
    this.#build(parent);
    this.engine = new RenderingEngine(this.id);
    this.engine.enableElement({ viewportId: this.id, type: Enums.ViewportType.STACK, element: this.port });
    this.viewport = this.engine.getViewport(this.id);
    this.port.removeAttribute("tabindex"); // a click gives the keyboard to the stage, which knows the keys
    this.#startTools();
    this.#listen();
  }

  // ---- what Python sends -------------------------------------------------------------------------------------

  /** Bring the viewer to what Python describes; called at every rerun, also when nothing changed. */
  async update(data) {
    this.data = data;
    try {
      await this.#showVolume(data);
      this.#showBoxes(data);
      await this.#showHeat(data.overlay);
      this.say("");
    } catch (error) {
      this.say(error.message, "alert");
    }
  }

  async #showVolume(data) {
    const { volume: description, jump, slice } = data;
    if (this.volume?.url !== description.url) {
      this.say("Loading the images …");
      const volume = await loadVolume(description);
      if (this.data !== data) return;
      const before = this.volume;
      this.volume = volume;
      const ids = Array.from({ length: volume.slices }, (_, i) => imageId(volume, i));
      await this.viewport.setStack(ids, slice);
      annotation.state.removeAllAnnotations();
      this.slider.max = volume.slices - 1;
      this.jump = jump;
      this.window(this.reading ? recall("window", PRESETS.soft) : PRESETS.soft);
      this.unframed = true;
      if (before) releaseVolume(before);
      this.root.dataset.ready = "true";
    } else if (this.jump !== jump) {
      this.jump = jump;
      await this.scrollTo(slice);
    }
  }

  #showBoxes(data) {
    const { boxes, levels, selected } = data;
    if (boxes.key !== this.boxesKey) {
      this.boxesKey = boxes.key;
      if (!this.editor) this.boxes.set(boxes.regions);
    }
    this.#takeRegions();
    if (this.unframed) this.frameSpine();
    this.boxes.selected = selected;
    if (!this.reading) this.#showScout(levels);
    this.#refresh();
  }

  #showScout(levels) {
    const known = this.boxes.regions.find((region) => region.region === "central_canal" && region.box);
    const middle = known
      ? [(known.box[0] + known.box[2]) / 2, (known.box[1] + known.box[3]) / 2]
      : this.#boneCentre() ?? [this.volume.rows / 2, this.volume.columns / 2];
    this.scout.show(this.volume, middle, levels);
    this.scout.paint(this.voi);
  }

  async #showHeat(overlay) {
    if (!overlay) this.boxes.heat = null;
    else if (this.boxes.heat?.url !== overlay.url) {
      const values = overlay.values ?? (await loadOverlay(overlay));
      if (this.data?.overlay?.url !== overlay.url) return;
      const picture = heatPicture(values, overlay.rows, overlay.columns);
      this.boxes.heat = { url: overlay.url, box: overlay.box, picture };
    }
    this.opacityField.hidden = !overlay;
    this.#refresh();
  }

  // ---- what the user does -----------------------------------------------------------------------------------

  get slice() { return this.viewport.getCurrentImageIdIndex(); }

  async scrollTo(slice) {
    const target = Math.min(Math.max(slice, 0), this.volume.slices - 1);
    if (target !== this.slice) await this.viewport.setImageIdIndex(target);
    this.viewport.setProperties({ voiRange: utilities.windowLevel.toLowHighRange(this.voi.width, this.voi.level) });
    this.viewport.render();
    this.#moved();
  }

  preset(name) { this.window(PRESETS[name]); }

  window({ width, level }) {
    this.voi = { width: Math.max(width, 1), level };
    this.viewport.setProperties({ voiRange: utilities.windowLevel.toLowHighRange(this.voi.width, level) });
    this.viewport.render();
  }

  zoom(factor) {
    this.viewport.setZoom(this.viewport.getZoom() * factor);
    this.viewport.render();
  }

  reset() {
    this.viewport.resetCamera();
    this.preset("soft");
  }

  /** Zoom to the boxes and what lies around them. */
  frameSpine() {
    this.unframed = false;
    this.viewport.resetCamera();
    const centre = (this.reading ? null : this.#boxesCentre()) ?? this.#boneCentre();
    if (!centre) return;
    const [row, column] = centre;
    const { focalPoint, position } = this.viewport.getCamera();
    const target = [column * this.volume.spacing[1], row * this.volume.spacing[0], focalPoint[2]];
    const shorter = Math.min(this.port.clientWidth, this.port.clientHeight);
    this.viewport.setCamera({
      focalPoint: target,
      position: position?.map((value, axis) => value + target[axis] - focalPoint[axis]),
      parallelScale: ((SPINE_MM / 2) * this.port.clientHeight) / shorter, // half the height in view, in mm
    });
    this.viewport.render();
  }

  #boxesCentre() {
    const centres = this.boxes.regions.filter((each) => each.box).map(({ box }) => [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]);
    if (!centres.length) return null;
    return [0, 1].map((axis) => centres.reduce((sum, centre) => sum + centre[axis], 0) / centres.length);
  }

  /** Where the spine lies on the slice that is asked for; null where grey values are no Hounsfield units. */
  #boneCentre() {
    if (!this.volume.hounsfield) return null;
    return boneCentre(slicePixels(this.volume, this.data.slice), this.volume);
  }

  /** Choose what a drag with the left button does. */
  choose(mode) {
    // A tool must let go of the left button before another takes it, or both react to the same drag.
    for (const tool of Object.values(MODES)) this.tools.setToolPassive(tool.toolName);
    this.mode = mode;
    this.#bindTools();
    for (const button of this.modeButtons) button.setAttribute("aria-pressed", button.dataset.mode === mode);
    if (this.editor) this.#refresh();
  }

  clearLengths() {
    annotation.state.removeAllAnnotations();
    this.viewport.render();
  }

  #takeRegions() {
    if (this.editor && !this.boxes.dragging) this.boxes.regions = this.editor.regionsAt(this.slice);
  }

  /** The region that keys and a new box are for, as it is on the slice in view. */
  get region() { return this.boxes.regions.find(({ region }) => region === this.boxes.selected); }

  selectNumber(index) { if (this.boxes.regions[index]) this.#select(this.boxes.regions[index].region); }

  /** Move or size the selected box by an arrow key. */
  shift(arrow, { sized }) {
    if (this.region?.box) this.boxes.shift(this.region, STEPS[arrow], { sized });
    else this.editor.say("This region has no box on this slice yet: draw one, or press N.");
  }

  placeSelected() { if (this.region && !this.region.box) this.#placeBox(this.region.region); }

  removeSelected() {
    if (!this.region?.box) return;
    Object.assign(this.region, { box: null, moved: true });
    this.editor.changed(this.region);
    this.#refresh();
  }

  /** A drag with the left button where no box is draws one for the selected region. */
  #draw(event) {
    if (this.mode !== "draw" || event.button !== 0 || !this.volume || event.target.closest(".lssv-box")) return;
    event.preventDefault(); // the slice's own tools stay out of it
    this.stage.focus({ preventScroll: true });
    if (!this.region) return;
    if (this.region.box) this.editor.say(`${this.region.label} has a box here: drag it, or press Delete to draw it anew.`);
    else this.boxes.begin(event, this.region);
  }

  #placeBox(region) {
    const middle = this.#toImage(this.port.clientWidth / 2, this.port.clientHeight / 2);
    const half = [0, 1].map((axis) => PLACED_BOX_MM / this.volume.spacing[axis] / 2);
    this.boxes.place(region, [middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1]]);
  }

  // ---- building ---------------------------------------------------------------------------------------------

  #build(parent) {
    this.port = element("div", { class: "lssv-port" });
    this.layer = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.layer.setAttribute("class", "lssv-layer");
    this.captions = Object.fromEntries(
      ["where", "window", "message"].map((name) => [name, element("div", { class: `lssv-text lssv-${name}` })]),
    );
    this.captions.message.setAttribute("role", "status");
    const sides = [["left", "R"], ["right", "L"], ["top", "A"], ["bottom", "P"]].map(([side, letter]) =>
      element("div", { class: `lssv-text lssv-side lssv-${side}`, "aria-hidden": "true" }, letter));
    this.stage = element(
      "div",
      { class: "lssv-stage", tabindex: 0, role: "application", "aria-label": `CT slice viewer. ${this.keys.help}` },
      this.port, this.layer, ...sides, ...Object.values(this.captions),
    );
    const side = element("div", { class: "lssv-aside" });
    this.scout = new Scout(side, (slice) => this.scrollTo(slice));
    this.legend = element("div", { class: "lssv-legend", role: "group", "aria-label": "Regions" });
    side.append(this.legend);
    side.hidden = this.reading;
    this.root = element("div", { class: "lssv", "data-ready": "false" }, this.#toolbar(),
      element("div", { class: "lssv-main" }, this.stage, side), this.#sliceField(), this.#help());
    parent.replaceChildren(this.root);
    this.boxes = new Boxes(
      this.layer,
      { toCanvas: (row, column) => this.#toCanvas(row, column), toImage: (x, y) => this.#toImage(x, y) },
      {
        onMoved: (region) => { this.editor?.changed(region); this.#refresh(); this.#moved(); },
        onSelected: (region) => { this.#select(region); if (this.editor) this.stage.focus({ preventScroll: true }); },
        fixed: this.reading,
      },
    );
  }

  #toolbar() {
    this.modeButtons = [...(this.editor ? ["draw"] : []), ...Object.keys(MODES)].map((mode) =>
      button(MODE_LABELS[mode], () => this.choose(mode), { "data-mode": mode, "aria-pressed": mode === this.mode }));
    const { titles } = this.keys;
    const windows = element("div", { role: "group", "aria-label": "Window" },
      button("Soft", () => this.preset("soft"), { title: `Width 400, level 40 (${titles.soft})` }),
      button("Bone", () => this.preset("bone"), { title: `Width 1800, level 450 (${titles.bone})` }),
      button("Spine", () => this.frameSpine(), { title: titles.spine }),
      button("Whole", () => this.reset(), { title: `Fit the whole slice, soft window (${titles.whole})` }),
      button("Clear lengths", () => this.clearLengths(), { title: "Remove all lengths (Delete)" }));
    const slider = element("input", { type: "range", min: 0, max: 100, value: 50, "aria-label": "Heat map opacity" });
    slider.addEventListener("input", () => { this.boxes.opacity = slider.value / 100; this.#refresh(); });
    this.opacityField = element("label", { class: "lssv-opacity" }, "Heat map opacity ", slider);
    this.opacityField.hidden = true;
    return element("div", { class: "lssv-bar", role: "toolbar", "aria-label": "Viewer tools" },
      element("div", { role: "group", "aria-label": "Drag with the left button" }, ...this.modeButtons),
      windows, this.opacityField);
  }

  #sliceField() {
    this.slider = element("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Slice, foot to head" });
    this.slider.addEventListener("input", () => this.scrollTo(Number(this.slider.value)));
    return element("label", { class: "lssv-slices" }, element("span", {}, "Slice"), this.slider);
  }

  #help() {
    const help = element("details", { class: "lssv-help" }, element("summary", {}, "Keys and mouse"),
      element("p", {}, this.keys.help));
    help.hidden = this.reading; // the desk shows these keys among its own
    return help;
  }

  #startTools() {
    this.tools = ToolGroupManager.createToolGroup(this.id);
    this.tools.addTool(StackScrollTool.toolName, { invert: true });
    for (const tool of Object.values(MODES)) this.tools.addTool(tool.toolName);
    this.tools.addViewport(this.id, this.id);
    this.#bindTools();
  }

  #bindTools() {
    const { Primary, Auxiliary, Secondary, Wheel } = ToolEnums.MouseBindings;
    const buttons = { pan: [{ mouseButton: Auxiliary }], zoom: [{ mouseButton: Secondary }] };
    for (const [mode, tool] of Object.entries(MODES)) {
      const bindings = [...(buttons[mode] ?? []), ...(mode === this.mode ? [{ mouseButton: Primary }] : [])];
      if (bindings.length) this.tools.setToolActive(tool.toolName, { bindings });
    }
    this.tools.setToolActive(StackScrollTool.toolName, { bindings: [{ mouseButton: Wheel }] });
  }

  #listen() {
    this.port.addEventListener(Enums.Events.IMAGE_RENDERED, () => this.#refresh());
    this.port.addEventListener(Enums.Events.STACK_NEW_IMAGE, () => this.#moved());
    this.port.addEventListener(Enums.Events.VOI_MODIFIED, ({ detail }) => this.#windowed(detail.range));
    this.port.addEventListener("contextmenu", (event) => event.preventDefault());
    if (!this.reading) this.stage.addEventListener("keydown", (event) => this.#key(event));
    if (this.editor) this.stage.addEventListener("pointerdown", (event) => this.#draw(event));
    this.stage.addEventListener("pointerdown", () => this.stage.focus({ preventScroll: true }));
    this.layer.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.scrollTo(this.slice - Math.sign(event.deltaY));
    }, { passive: false });
    this.resizing = new ResizeObserver(() => this.#resize());
    this.resizing.observe(this.port);
  }

  #resize() {
    if (!this.volume || !this.port.clientWidth) return;
    this.engine.resize(true, true);
    this.#refresh();
  }

  #windowed({ lower, upper }) {
    this.voi = utilities.windowLevel.toWindowLevel(lower, upper);
    this.voi = { width: this.voi.windowWidth, level: this.voi.windowCenter };
    clearTimeout(this.painting);
    this.painting = setTimeout(() => (this.reading ? remember("window", this.voi) : this.scout.paint(this.voi)), 60);
  }

  #key(event) {
    const onBox = this.editor && event.target.closest(".lssv-box");
    if ((event.target !== this.stage && !onBox) || event.ctrlKey || event.metaKey || event.altKey) return;
    const shifted = this.editor && event.shiftKey && event.key.length > 1;
    if (!this.act(shifted ? `Shift+${event.key}` : keyName(event))) return;
    event.preventDefault();
    event.stopPropagation(); // Streamlit has single-key shortcuts of its own
  }

  /** Do what a key stands for. @returns {boolean} whether it stands for anything */
  act(key) {
    const action = this.volume && this.keys.actions(this)[key];
    action?.();
    return Boolean(action);
  }

  // ---- following what is in view ----------------------------------------------------------------------------

  #toCanvas(row, column) {
    const [rows, columns] = this.volume.spacing;
    return this.viewport.worldToCanvas([column * columns, row * rows, this.volume.positions[this.slice]]);
  }

  #toImage(x, y) {
    const world = this.viewport.canvasToWorld([x, y]);
    return [world[1] / this.volume.spacing[0], world[0] / this.volume.spacing[1]];
  }

  /** Show boxes as they now are. */
  refresh() { this.#refresh(); }

  #refresh() {
    if (!this.volume || !this.data) return;
    const { slice, volume } = this;
    this.#takeRegions();
    this.boxes.draw({ proposed: !this.editor && slice !== this.data.boxes.slice });
    this.stage.classList.toggle("lssv-drawing", this.mode === "draw" && Boolean(this.region) && !this.region.box);
    this.scout.mark(slice);
    this.slider.value = slice;
    const where = `Slice ${slice + 1} of ${volume.slices}`;
    this.slider.setAttribute("aria-valuetext", where);
    const level = this.data.levels.find((each) => each.slice === slice);
    const away = volume.positions[slice] - volume.positions[0];
    this.captions.where.textContent = `${where}${level ? ` · ${level.label}` : ""}\n${away.toFixed(1)} mm from the lowest`;
    const [width, center] = [this.voi.width, this.voi.level].map(Math.round);
    this.captions.window.textContent = `W ${width} L ${center}${volume.hounsfield ? "" : "\nno Hounsfield units"}`;
    Object.assign(this.root.dataset, { slice, windowWidth: width, windowLevel: center });
    this.#drawLegend();
    this.editor?.shown();
  }

  #drawLegend() {
    const rows = this.boxes.regions.map((each) => {
      const { region, label, box, moved } = each;
      const state = this.editor?.stateOf(each) ?? (box ? (moved ? " (moved)" : "") : ": place a box");
      const button = element("button", {
        type: "button", class: `lssv-key lssv-${region}`, "aria-pressed": region === this.boxes.selected,
      }, `${label}${state}`);
      button.addEventListener("click", () => (box || this.editor ? this.#select(region) : this.#placeBox(region)));
      return button;
    });
    const text = rows.map((row) => row.outerHTML).join("");
    if (text === this.legendText) return; // keep the buttons, and with them the keyboard focus
    this.legendText = text;
    this.legend.replaceChildren(...rows);
  }

  #select(region) {
    this.boxes.selected = region;
    this.#refresh();
  }

  #moved() {
    clearTimeout(this.reporting);
    this.reporting = setTimeout(() => {
      if (!this.boxesKey) return; // still loading
      const boxes = Object.fromEntries(
        this.boxes.regions.filter((each) => each.box).map(({ region, box }) => [region, box]));
      const moved = this.boxes.regions.filter((each) => each.moved).map((each) => each.region);
      const view = { slice: this.slice, boxes, moved, key: this.boxesKey };
      if (JSON.stringify(view) === this.reported) return;
      this.reported = JSON.stringify(view);
      this.report(view);
    }, REPORT_AFTER_MS);
  }

  /** Write over the picture. */
  say(text, role = "status") {
    this.captions.message.textContent = text;
    this.captions.message.setAttribute("role", role);
  }

  close() {
    clearTimeout(this.reporting);
    clearTimeout(this.painting);
    this.resizing.disconnect();
    this.data = null; // answers that are still on their way find nobody to show them to
    ToolGroupManager.destroyToolGroup(this.id);
    getRenderingEngine(this.id)?.destroy();
    if (this.volume) releaseVolume(this.volume);
  }
}
