/**
 * Where the spine lies, told from one slice alone and by one rule, so that every reader first sees every case alike:
 * the middle of the bone in the hinder half of the body, near its midline. Contrast in the bowel lies before that.
 */
const BONE_HU = 250, BODY_HU = -300;
const FRONT_SHARE = 0.45; // of the body's depth that is left out
const BESIDE_MM = 45; // how far from the midline bone counts

/** @returns {[number, number]} (row, column) */
export function boneCentre(pixels, { rows, columns, spacing }) {
  const body = countAbove(pixels, BODY_HU, { rows, columns });
  const [front, back] = [quantile(body.inRow, 0.02), quantile(body.inRow, 0.98)];
  const midline = quantile(body.inColumn, 0.5);
  const beside = BESIDE_MM / spacing[1];
  const inside = (row, column) => row >= front + FRONT_SHARE * (back - front) && Math.abs(column - midline) <= beside;
  const bone = countAbove(pixels, BONE_HU, { rows, columns }, inside);
  if (!bone.count) return [(front + back) / 2, midline];
  return [quantile(bone.inRow, 0.5), quantile(bone.inColumn, 0.5)];
}

function countAbove(pixels, hu, { rows, columns }, inside = () => true) {
  const inRow = new Uint32Array(rows), inColumn = new Uint32Array(columns);
  let count = 0;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      if (pixels[row * columns + column] <= hu || !inside(row, column)) continue;
      inRow[row]++;
      inColumn[column]++;
      count++;
    }
  }
  return { inRow, inColumn, count };
}

/** The place up to which a share of what was counted lies. */
function quantile(counts, share) {
  const total = counts.reduce((sum, count) => sum + count, 0);
  let below = 0;
  for (let i = 0; i < counts.length; i++) {
    below += counts[i];
    if (total && below >= share * total) return i;
  }
  return (counts.length - 1) / 2;
}
