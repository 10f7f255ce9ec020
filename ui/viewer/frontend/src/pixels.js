/** Fetches a volume once and hands its slices to Cornerstone as images, without copying them. */
import { cache, imageLoader, metaData, utilities } from "@cornerstonejs/core";

const SCHEME = "lss";
const volumes = new Map(); // url -> Promise<Volume>
const arrived = new Map(); // url -> Volume

/**
 * @typedef {object} Volume
 * @property {string} url            where the pixels came from; also the volume's name in image ids
 * @property {Int16Array} hu         [slice, row, column], slices foot to head, columns towards the patient's left
 * @property {number} slices
 * @property {number} rows
 * @property {number} columns
 * @property {[number, number]} spacing  millimetres between rows, between columns
 * @property {number[]} positions    millimetres along the slice normal, one a slice
 * @property {boolean} hounsfield    false for a picture whose grey values are only a guess at HU
 */

/**
 * @param {{url: string}} description  a Volume without its pixels; a slab's url alone is enough, its answer tells the rest
 * @returns {Promise<Volume>}
 */
export function loadVolume(description) {
  if (!volumes.has(description.url)) volumes.set(description.url, fetchVolume(description));
  return volumes.get(description.url);
}

/** Forget a volume that is no longer shown, so that the browser keeps no scan that was replaced. */
export function releaseVolume(volume) {
  for (let slice = 0; slice < volume.slices; slice++) {
    const id = imageId(volume, slice);
    if (cache.getImageLoadObject(id)) cache.removeImageLoadObject(id, { force: true });
  }
  volumes.delete(volume.url);
  arrived.delete(volume.url);
}

async function fetchVolume(asked) {
  try {
    const response = await fetch(asked.url, { credentials: "same-origin", cache: "no-store" });
    if (!response.ok) throw new Error("The images are no longer held by the server. Open the case again.");
    const description = { ...asked, ...JSON.parse(response.headers.get("X-Slab") ?? "{}") };
    const hu = new Int16Array(await response.arrayBuffer());
    const expected = description.slices * description.rows * description.columns;
    if (hu.length !== expected) {
      throw new Error(`The server sent ${hu.length} pixels where ${expected} were expected. Reload the page.`);
    }
    const volume = { ...description, hu };
    arrived.set(asked.url, volume);
    return volume;
  } catch (error) {
    volumes.delete(asked.url); // the next try asks again
    throw error;
  }
}

export async function loadOverlay(description) {
  const response = await fetch(description.url, { credentials: "same-origin", cache: "no-store" });
  if (!response.ok) throw new Error("The heat map is no longer held by the server. Choose it again.");
  return new Uint8Array(await response.arrayBuffer());
}

export const imageId = (volume, slice) => `${SCHEME}:${volume.url}#${slice}`;

function parse(id) {
  const [url, slice] = id.slice(SCHEME.length + 1).split("#");
  return { volume: arrived.get(url), slice: Number(slice) };
}

export function slicePixels(volume, slice) {
  const size = volume.rows * volume.columns;
  return volume.hu.subarray(slice * size, (slice + 1) * size);
}

function range(pixels) {
  let low = pixels[0], high = pixels[0];
  for (const value of pixels) {
    if (value < low) low = value;
    else if (value > high) high = value;
  }
  return [low, high];
}

function loadImage(id) {
  const { volume, slice } = parse(id);
  const pixels = slicePixels(volume, slice);
  const { rows, columns } = volume;
  const [minPixelValue, maxPixelValue] = range(pixels);
  const voxelManager = utilities.VoxelManager.createImageVoxelManager({
    width: columns, height: rows, numberOfComponents: 1, scalarData: pixels, id,
  });
  const image = {
    imageId: id, dataType: "Int16Array", minPixelValue, maxPixelValue, voxelManager,
    slope: 1, intercept: 0, windowCenter: 40, windowWidth: 400, voiLUTFunction: "LINEAR",
    rows, columns, height: rows, width: columns, color: false, rgba: false, invert: false, numberOfComponents: 1,
    rowPixelSpacing: volume.spacing[0], columnPixelSpacing: volume.spacing[1],
    photometricInterpretation: "MONOCHROME2", sizeInBytes: pixels.byteLength,
    getPixelData: () => pixels, getCanvas: undefined,
  };
  return { promise: Promise.resolve(image) };
}

function imagePlane({ volume, slice }) {
  return {
    frameOfReferenceUID: volume.url, rows: volume.rows, columns: volume.columns,
    imageOrientationPatient: [1, 0, 0, 0, 1, 0], rowCosines: [1, 0, 0], columnCosines: [0, 1, 0],
    imagePositionPatient: [0, 0, volume.positions[slice]], pixelSpacing: volume.spacing,
    rowPixelSpacing: volume.spacing[0], columnPixelSpacing: volume.spacing[1], usingDefaultValues: false,
  };
}

const modules = {
  imagePlaneModule: imagePlane,
  imagePixelModule: ({ volume }) => ({
    samplesPerPixel: 1, photometricInterpretation: "MONOCHROME2", rows: volume.rows, columns: volume.columns,
    bitsAllocated: 16, bitsStored: 16, highBit: 15, pixelRepresentation: 1,
  }),
  modalityLutModule: () => ({ rescaleSlope: 1, rescaleIntercept: 0, rescaleType: "HU" }),
  voiLutModule: () => ({ windowWidth: [400], windowCenter: [40], voiLUTFunction: "LINEAR" }),
  generalSeriesModule: ({ volume }) => ({ modality: "CT", seriesInstanceUID: volume.url }),
};

export function registerPixels() {
  imageLoader.registerImageLoader(SCHEME, loadImage);
  metaData.addProvider((type, id) => {
    if (typeof id !== "string" || !id.startsWith(`${SCHEME}:`)) return undefined;
    return modules[type]?.(parse(id));
  });
}
