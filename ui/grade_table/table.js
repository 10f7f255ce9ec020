const make = (tag, text = "", attributes = {}) => {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

function cell(grade, describe, pressed, choose) {
  const td = make("td");
  const button = make("button", "", { type: "button", "aria-pressed": pressed });
  button.className = grade ? `g${grade.grade}` : "missing";
  if (grade) {
    const percent = `${Math.round(grade.probability * 100)}%`;
    button.append(make("b", grade.grade), make("span", grade.label), make("i", percent));
    button.setAttribute("aria-label", `${describe}: grade ${grade.grade}, ${grade.label}, probability ${percent}`);
  } else {
    button.append(make("span", "not found"));
    button.setAttribute("aria-label", `${describe}: not found`);
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
  table.append(make("caption", "Grade, and its probability, for each level and region. Choose a cell to see it."));
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
