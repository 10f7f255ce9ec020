/** What an aided reader sees of the model: its grades beside each region, boxes and heat maps in the picture. */
import { element } from "./dom.js";
import { GRADES } from "./form.js";

/** @returns {Promise<object>} the aid of a case with its heat maps; the server refuses it wherever the arm has none */
export async function loadAid(token) {
  const response = await fetch(`/api/cases/${token}/aid`, { credentials: "same-origin", cache: "no-store" });
  if (!response.ok) throw new Error("The model's output could not be loaded. Reload the page.");
  const aid = await response.json();
  for (const [region, { heat_map: heat }] of Object.entries(aid.regions)) {
    if (heat) Object.assign(heat, { url: `${token}/${region}`, values: decoded(heat.values) });
  }
  return aid;
}

const decoded = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

/** Boxes as the viewer takes them. */
export const aidBoxes = (aid, regions) => regions.map(({ region, label }) => {
  const found = aid?.regions[region];
  return { region, label, box: found?.box ?? null, grade: found?.grade ?? null };
});

/** The heat map of a region as the viewer takes it, or null. */
export const aidOverlay = (aid, region) => aid?.regions[region]?.heat_map ?? null;

/** A line for a region: the model's grade, and how it spreads its belief over the four. */
export function aidLine(aid, region) {
  const found = aid.regions[region];
  if (!found) return [`Model ${aid.version}: no output`];
  if (found.grade == null) return [`Model ${aid.version}: not gradable. ${found.not_gradable}`];
  const percent = (value) => `${Math.round(value * 100)} %`;
  if (!found.probabilities) return [element("span", {}, `Model ${aid.version}: `, element("strong", {}, `${found.grade} ${GRADES[found.grade]}`))];
  const bars = found.probabilities.map((value, grade) => element("span",
    { class: grade === found.grade ? "lssd-prob lssd-most" : "lssd-prob", title: `grade ${grade}, ${GRADES[grade]}: ${percent(value)}` },
    element("i", { style: `height: ${Math.round(value * 70)}%` }), element("b", {}, String(grade))));
  const spread = found.probabilities.map((value, grade) => `grade ${grade} ${percent(value)}`).join(", ");
  return [
    element("span", {}, `Model ${aid.version}: `, element("strong", {}, `${found.grade} ${GRADES[found.grade]}`),
      ` (${percent(found.probabilities[found.grade])})`),
    element("span", { class: "lssd-bars", role: "img", "aria-label": `Probabilities: ${spread}` }, ...bars),
  ];
}
