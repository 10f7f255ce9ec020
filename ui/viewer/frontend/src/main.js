/** Streamlit's entry: one Viewer for each place the component is mounted in. */
import { Viewer } from "./viewer.js";
import styles from "./viewer.css?inline";

const viewers = new WeakMap(); // parent element -> Viewer

function addStyles(parent) {
  const root = parent.getRootNode();
  const home = root === document ? document.head : root;
  if (home.querySelector("style[data-lssv]")) return;
  const style = document.createElement("style");
  style.dataset.lssv = "";
  style.textContent = styles;
  home.append(style);
}

export default function mount({ parentElement, data, setStateValue }) {
  addStyles(parentElement);
  if (!viewers.has(parentElement)) {
    viewers.set(parentElement, new Viewer(parentElement, (view) => viewers.get(parentElement)?.tell(view)));
  }
  const viewer = viewers.get(parentElement);
  viewer.tell = (view) => setStateValue("view", view);
  viewer.update(data);
  return () => {
    viewers.get(parentElement)?.close();
    viewers.delete(parentElement);
  };
}
