import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vite";

const here = import.meta.dirname;
const bundle = join(here, "..", "bundle");
const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** The same digest as tests/test_viewer.py computes: every source file's name, length and bytes, sorted by name. */
function sourceDigest() {
  const names = readdirSync(join(here, "src")).map((name) => `src/${name}`);
  names.push("package.json", "package-lock.json", "vite.config.js");
  const digest = createHash("sha256");
  for (const name of names.sort()) {
    const bytes = readFileSync(join(here, name));
    digest.update(`${name}\0${bytes.length}\0`).update(bytes);
  }
  return digest.digest("hex");
}

/** Records which source the bundle was built from, so that a test without Node can tell a stale bundle. */
const writeManifest = {
  name: "write-manifest",
  closeBundle() {
    const manifest = { source_sha256: sourceDigest(), bundle_sha256: sha256(readFileSync(join(bundle, "viewer.js"))) };
    writeFileSync(join(bundle, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
  },
};

export default defineConfig({
  define: { "process.env.NODE_ENV": '"production"' },
  build: {
    outDir: bundle,
    emptyOutDir: true,
    lib: { entry: "src/main.js", formats: ["es"], fileName: () => "viewer.js" },
    rollupOptions: { output: { codeSplitting: false } },
    chunkSizeWarningLimit: 6000,
  },
  plugins: [writeManifest],
});
