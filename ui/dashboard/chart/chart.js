const FILE_WIDTH = 1100; // pixels of a downloaded picture, whatever the window's width
const PNG_SCALE = 3;     // some 300 dots per inch at 9 cm

const make = (tag, attributes = {}, text = "") => {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

function plotly(address) {
  window.lssPlotly ??= new Promise((resolve, reject) => {
    const script = make("script", { src: address });
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      delete window.lssPlotly;
      reject(new Error("The figure could not be drawn: its code did not arrive. Reload the page."));
    };
    document.head.append(script);
  });
  return window.lssPlotly;
}

function save(name, url) {
  make("a", { href: url, download: name }).click();
}

function saveTable(name, csv) {
  const url = URL.createObjectURL(new Blob(["\ufeff", csv], { type: "text/csv" }));
  save(`${name}.csv`, url);
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

async function savePicture(library, figure, name, format) {
  const height = figure.layout.height ?? 500;
  const options = { format, width: FILE_WIDTH, height, scale: format === "png" ? PNG_SCALE : 1 };
  save(`${name}.${format}`, await library.toImage(figure, options));
}

export default function ({ parentElement, data, setTriggerValue }) {
  const key = data.figure + data.csv;
  let frame = parentElement.querySelector(".lss-chart");
  if (frame?.dataset.file === data.file && frame.drawn === key) return frame.close;
  frame?.remove();
  frame = make("div", { class: `lss-chart${data.cells ? " lss-chart-cells" : ""}`, "data-file": data.file });
  frame.drawn = key;
  const plot = make("div", { class: "lss-chart-plot", role: "img", "aria-label": `${data.title}. ${data.statement}` });
  const tools = make("div", { class: "lss-chart-tools" });
  if (data.cells) tools.append(make("span", {}, "Click a cell to list its cases."));
  frame.append(plot, tools);
  parentElement.append(frame);

  const figure = JSON.parse(data.figure);
  let closed = false;
  plotly(data.plotly).then((library) => {
    if (closed) return;
    library.newPlot(plot, figure.data, { ...figure.layout, autosize: true }, { displayModeBar: false, responsive: true });
    if (data.cells) plot.on("plotly_click", (event) => setTriggerValue("cell", [...event.points[0].pointIndex]));
    const offered = [
      ["PNG", () => savePicture(library, figure, data.file, "png")],
      ["SVG", () => savePicture(library, figure, data.file, "svg")],
      ["CSV", () => saveTable(data.file, data.csv)],
    ];
    for (const [name, act] of offered) {
      const button = make("button", { type: "button", "aria-label": `${name} of the figure ${data.title}` }, name);
      button.addEventListener("click", act);
      tools.append(button);
    }
    frame.dataset.ready = "true";
  }).catch((error) => plot.append(make("p", { role: "alert" }, error.message)));
  frame.close = () => {
    closed = true;
    window.Plotly?.purge(plot);
    frame.remove();
  };
  return frame.close;
}
