const CAPTION = "Grade and its probability. A framed range such as 1–2: grades that stay plausible; !: a reason for doubt. " +
  "Choose a cell to read why.";

const make = (tag, text = "", attributes = {}) => {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

function marks(grade) {
  const span = make("span", "", { class: "marks" });
  if (grade.set) span.append(make("em", grade.set));
  if (grade.doubts) span.append(make("em", "!", { class: "doubt" }));
  return span.childNodes.length ? [span] : [];
}

function described(grade) {
  const percent = `${Math.round(grade.probability * 100)}%`;
  const set = grade.set ? `, grades ${grade.set.replace("–", " to ")} stay plausible` : "";
  const doubts = grade.doubts ? `, ${grade.doubts} ${grade.doubts > 1 ? "reasons" : "reason"} for doubt` : "";
  return `grade ${grade.grade}, ${grade.label}, probability ${percent}${set}${doubts}`;
}

function cell(grade, describe, pressed, choose) {
  const td = make("td");
  const button = make("button", "", { type: "button", "aria-pressed": pressed });
  if (grade.missing) {
    button.className = "missing";
    button.append(make("span", grade.missing));
    button.setAttribute("aria-label", `${describe}: ${grade.missing}`);
  } else {
    button.className = `g${grade.grade}`;
    const percent = `${Math.round(grade.probability * 100)}%`;
    button.append(make("b", grade.grade), make("span", grade.label), make("i", percent), ...marks(grade));
    button.setAttribute("aria-label", `${describe}: ${described(grade)}`);
  }
  button.addEventListener("click", choose);
  td.append(button);
  return td;
}

export default function ({ parentElement, data, setStateValue }) {
  let table = parentElement.querySelector("table");
  const focused = parentElement.activeElement?.dataset?.at ?? parentElement.getRootNode().activeElement?.dataset?.at;
  table?.remove();
  table = make("table");
  table.append(make("caption", CAPTION));
  const head = make("tr");
  head.append(make("th", "Level", { scope: "col" }), ...data.columns.map((name) => make("th", name, { scope: "col" })));
  table.append(head);
  data.rows.forEach((row, i) => {
    const tr = make("tr");
    const name = make("th", row.name, { scope: "row" });
    if (row.note) name.append(make("small", row.note));
    tr.append(name);
    row.cells.forEach((grade, j) => {
      const chosen = data.selected[0] === i && data.selected[1] === j;
      const td = cell(grade, `${row.name}, ${data.columns[j]}`, chosen, () => setStateValue("cell", [i, j, Date.now()]));
      td.firstChild.dataset.at = `${i}-${j}`;
      tr.append(td);
    });
    table.append(tr);
  });
  parentElement.append(table);
  if (focused) table.querySelector(`[data-at="${focused}"]`)?.focus();
}
