/** Turns a heat map of bytes into a picture in the colours of matplotlib's "inferno", clear where it is cold. */
const INFERNO = [
  [0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85], [227, 89, 51], [249, 140, 10],
  [249, 201, 50], [252, 255, 164],
];

function colour(value) {
  const place = (value / 255) * (INFERNO.length - 1);
  const low = Math.min(Math.floor(place), INFERNO.length - 2);
  return INFERNO[low].map((channel, i) => channel + (INFERNO[low + 1][i] - channel) * (place - low));
}

/** @returns {string} a data URL of a rows x columns picture */
export function heatPicture(values, rows, columns) {
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(columns, rows);
  values.forEach((value, i) => {
    const [red, green, blue] = colour(value);
    picture.data.set([red, green, blue, value], i * 4);
  });
  context.putImageData(picture, 0, 0);
  return canvas.toDataURL();
}
