/** What the viewer's keys do, by page: on the grading page digits are windows, while reading they are grades. */
export const PRESETS = { soft: { width: 400, level: 40 }, bone: { width: 1800, level: 450 } };

const shared = (viewer) => ({
  Home: () => viewer.scrollTo(0), End: () => viewer.scrollTo(viewer.volume.slices - 1),
  w: () => viewer.choose("window"), p: () => viewer.choose("pan"), z: () => viewer.choose("zoom"),
  l: () => viewer.choose("length"), s: () => viewer.frameSpine(), "+": () => viewer.zoom(1.2), "=": () => viewer.zoom(1.2),
  "-": () => viewer.zoom(1 / 1.2), Delete: () => viewer.clearLengths(), Backspace: () => viewer.clearLengths(),
});

const brighten = (viewer, by) => () => viewer.window({ width: viewer.voi.width, level: viewer.voi.level - by });

const scroll = (viewer, by) => () => viewer.scrollTo(viewer.slice + by);

const windows = (viewer) => ({
  t: () => viewer.preset("soft"), b: () => viewer.preset("bone"), f: () => viewer.reset(),
});

export const GRADING = {
  help: "Wheel or arrow up and down: slices. Page up and down: five slices. Home, End: first and last. 1: soft window. " +
    "2: bone window. S: zoom to the spine. Left and right: brightness. W, P, Z, L: drag to window, pan, zoom or measure. " +
    "Plus, minus: zoom. 0: whole slice. Delete: remove lengths. Drag a box to move it, its corners to size it.",
  titles: { soft: "key 1", bone: "key 2", spine: "Zoom to the boxes (key S)", whole: "key 0" },
  actions: (viewer) => ({
    ...shared(viewer), ArrowUp: scroll(viewer, 1), ArrowDown: scroll(viewer, -1), PageUp: scroll(viewer, 5),
    PageDown: scroll(viewer, -5), ArrowLeft: brighten(viewer, -10), ArrowRight: brighten(viewer, 10),
    1: () => viewer.preset("soft"), 2: () => viewer.preset("bone"), 0: () => viewer.reset(),
  }),
};

export const READING = {
  help: "Wheel, or page up and down: slices. Home, End: first and last slice. T: soft tissue window. B: bone window. " +
    "S: zoom to the spine. F: whole slice. Left and right: brightness. W, P, Z, L: drag to window, pan, zoom or " +
    "measure. Plus, minus: zoom. Delete: remove lengths.",
  titles: { soft: "key T", bone: "key B", spine: "Zoom to the spine (key S)", whole: "key F" },
  actions: (viewer) => ({
    ...shared(viewer), PageUp: scroll(viewer, 1), PageDown: scroll(viewer, -1), ArrowLeft: brighten(viewer, -10),
    ArrowRight: brighten(viewer, 10), ...windows(viewer),
  }),
};

const MOVES = ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"];

/** Drawing regions: arrows belong to the selected box. `desk` is the Drawing around the viewer. */
export const drawingKeys = (desk) => ({
  help: "1, 2, 3: choose the region. Drag: draw it where it has no box; drag a box to move it, its corners to size it. " +
    "Arrow keys: move the chosen box by a pixel; shift and arrow keys: size it. N: new box in the middle of the view. " +
    "Delete: remove the box. A: accept all proposals on this slice. Shift and page up or down: copy the boxes to the " +
    "next or previous slice. G: back to the level's slice. Enter: save and go on. Wheel, or page up and down: slices. " +
    "Home, End: first and last slice. T: soft window. B: bone window. S: zoom to the spine. F: whole slice. D, W, P, Z, " +
    "L: drag to draw, window, pan, zoom or measure. Plus, minus: zoom.",
  titles: { soft: "key T", bone: "key B", spine: "Zoom to the boxes (key S)", whole: "key F" },
  actions: (viewer) => ({
    ...shared(viewer), ...windows(viewer), PageUp: scroll(viewer, 1), PageDown: scroll(viewer, -1),
    ...Object.fromEntries(MOVES.flatMap((key) => [
      [key, () => viewer.shift(key, { sized: false })], [`Shift+${key}`, () => viewer.shift(key, { sized: true })],
    ])),
    ...Object.fromEntries([0, 1, 2].map((index) => [index + 1, () => viewer.selectNumber(index)])),
    d: () => viewer.choose("draw"), n: () => viewer.placeSelected(), Delete: () => viewer.removeSelected(),
    Backspace: () => viewer.removeSelected(), a: () => desk.accept(), g: () => desk.goToLevel(),
    "Shift+PageUp": () => desk.copy(1), "Shift+PageDown": () => desk.copy(-1), Enter: () => desk.save({ next: true }),
  }),
});

/** Marking levels: digits say which disc the slice in view shows. `desk` is the Marking around the viewer. */
export const markingKeys = (desk) => ({
  help: "Wheel or arrow up and down: slices. Page up and down: five slices. Home, End: first and last. 1 to 5: this slice " +
    "is L1/2, L2/3, L3/4, L4/5, L5/S1. Delete: take the mark of this slice away. J, K: the next mark below, above. " +
    "Enter: confirm the levels. T: soft window. B: bone window. S: zoom to the spine. F: whole slice. Left and right: " +
    "brightness. W, P, Z, L: drag to window, pan, zoom or measure. Plus, minus: zoom.",
  titles: { soft: "key T", bone: "key B", spine: "Zoom to the spine (key S)", whole: "key F" },
  actions: (viewer) => ({
    ...shared(viewer), ...windows(viewer), ArrowUp: scroll(viewer, 1), ArrowDown: scroll(viewer, -1),
    PageUp: scroll(viewer, 5), PageDown: scroll(viewer, -5), ArrowLeft: brighten(viewer, -10),
    ArrowRight: brighten(viewer, 10),
    ...Object.fromEntries([0, 1, 2, 3, 4].map((index) => [index + 1, () => desk.markNumber(index)])),
    Delete: () => desk.unmark(), Backspace: () => desk.unmark(), j: () => desk.goToMark(-1), k: () => desk.goToMark(1),
    Enter: () => desk.confirm(),
  }),
});

/** The name under which an action stands in a key map. */
export const keyName = (event) => (event.key.length === 1 ? event.key.toLowerCase() : event.key);
