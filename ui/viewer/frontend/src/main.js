/**
 * Streamlit's entries, one made for each place of a component: a Viewer on the grading page, a Desk on the reading page, and
 * Marking and Drawing where a collection is curated.
 */
import { Desk } from "./desk.js";
import deskStyles from "./desk.css?inline";
import { Drawing } from "./drawing.js";
import { Marking } from "./marking.js";
import { Viewer } from "./viewer.js";
import viewerStyles from "./viewer.css?inline";
import workStyles from "./work.css?inline";

const shown = new WeakMap(); // parent element -> Viewer, Desk, Marking or Drawing

function addStyles(parent) {
  const root = parent.getRootNode();
  const home = root === document ? document.head : root;
  if (home.querySelector("style[data-lssv]")) return;
  const style = document.createElement("style");
  style.dataset.lssv = "";
  style.textContent = viewerStyles + deskStyles + workStyles;
  home.append(style);
}

/** What a place shows, made at the first run. */
function placed(parent, make) {
  addStyles(parent);
  if (!shown.has(parent)) shown.set(parent, make());
  return shown.get(parent);
}

function close(parent) {
  shown.get(parent)?.close();
  shown.delete(parent);
}

export default function mount({ parentElement, data, setStateValue }) {
  const viewer = placed(parentElement, () => new Viewer(parentElement, (view) => shown.get(parentElement)?.tell(view)));
  viewer.tell = (view) => setStateValue("view", view);
  viewer.update(data);
  return () => close(parentElement);
}

export function desk({ parentElement, data, setTriggerValue }) {
  const made = placed(parentElement, () => new Desk(parentElement, { preview: data.preview }));
  made.tell = (name, token) => setTriggerValue(name, token);
  made.update(data);
  return () => close(parentElement);
}

export function drawing({ parentElement, data, setTriggerValue }) {
  const made = placed(parentElement, () => new Drawing(parentElement));
  made.tell = (work) => setTriggerValue("work", work);
  made.update(data);
  return () => close(parentElement);
}

export function marking({ parentElement, data, setTriggerValue }) {
  const made = placed(parentElement, () => new Marking(parentElement));
  made.tell = (name, told) => setTriggerValue(name, told);
  made.update(data);
  return () => close(parentElement);
}
