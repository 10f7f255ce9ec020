/** Small choices that this browser keeps from case to case and over a reload. They hold nothing about a case. */
export function recall(name, otherwise) {
  try {
    return JSON.parse(window.localStorage.getItem(`lss-${name}`)) ?? otherwise;
  } catch {
    return otherwise; // storage is switched off, or another program wrote there
  }
}

export function remember(name, value) {
  try {
    window.localStorage.setItem(`lss-${name}`, JSON.stringify(value));
  } catch {
    // Without storage the choice lasts until the page is left.
  }
}
