// Bundles web/ into src/gpucloud_web/static/build/.
//
// Each entry becomes one minified file whose name carries a hash of its content, so that a browser
// may keep it for ever; manifest.json maps the plain name ("app.js") to the hashed one. A page loads
// only the entries it needs: the terminal, the charts and the API reference are heavy and stand
// alone. CSS that a script imports comes out beside it under the script's name ("terminal.css").
// Icons named in web/icons.txt, one a line, are gathered into one sprite ("icons.svg").

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

import esbuild from "esbuild";

const HERE = path.dirname(fileURLToPath(import.meta.url));
const ROOT = path.dirname(HERE);
const TARGET = path.join(ROOT, "src", "gpucloud_web", "static", "build");
const ENTRIES = ["app.js", "app.css", "terminal.js", "charts.js", "api-docs.js"];
const ICONS = path.join(HERE, "icons.txt");

/** Bundle every entry that exists and return { plain name: hashed name }. */
async function bundle(folder) {
  const names = ENTRIES.filter((name) => existsSync(path.join(HERE, name)));
  if (names.length === 0) return {};
  const result = await esbuild.build({
    absWorkingDir: ROOT,
    entryPoints: names.map((name) => path.join("web", name)),
    outdir: folder,
    entryNames: "[name]-[hash]",
    assetNames: "media/[name]-[hash]",
    bundle: true,
    minify: true,
    sourcemap: "linked",
    format: "esm",
    target: ["es2022"],
    legalComments: "linked",
    metafile: true,
    logLevel: "warning",
    loader: { ".woff": "file", ".woff2": "file", ".svg": "file", ".png": "file" },
  });
  const manifest = {};
  for (const [file, output] of Object.entries(result.metafile.outputs)) {
    if (!output.entryPoint) continue;
    const entry = path.basename(output.entryPoint);
    manifest[entry] = path.basename(file);
    if (output.cssBundle) {
      const style = entry.replace(/\.js$/, ".css");
      if (manifest[style] || names.includes(style)) {
        throw new Error(`${entry} imports CSS, which would replace ${style}: import it there`);
      }
      manifest[style] = path.basename(output.cssBundle);
    }
  }
  return manifest;
}

/** Gather the icons named in web/icons.txt into one sprite of <symbol>s. */
async function sprite(folder) {
  if (!existsSync(ICONS)) return {};
  const names = (await readFile(ICONS, "utf8"))
    .split("\n")
    .map((line) => line.replace(/#.*/, "").trim())
    .filter(Boolean);
  const symbols = await Promise.all([...new Set(names)].sort().map(symbol));
  const text = `<svg xmlns="http://www.w3.org/2000/svg">${symbols.join("")}</svg>\n`;
  const name = `icons-${createHash("sha256").update(text).digest("hex").slice(0, 8)}.svg`;
  await writeFile(path.join(folder, name), text);
  return { "icons.svg": name };
}

/** Return one icon as a <symbol>; "filled/star" names the filled face of "star". */
async function symbol(name) {
  const filled = name.startsWith("filled/");
  const file = path.join(
    ROOT, "node_modules", "@tabler", "icons", "icons",
    filled ? `${name}.svg` : path.join("outline", `${name}.svg`),
  );
  const drawing = await readFile(file, "utf8").catch(() => {
    throw new Error(`web/icons.txt names "${name}", which @tabler/icons does not have`);
  });
  const paths = drawing
    .replace(/<!--[\s\S]*?-->/g, "")
    .replace(/^[\s\S]*?<svg[^>]*>/, "")
    .replace(/<\/svg>\s*$/, "")
    .replace(/\s*\n\s*/g, "");
  const ink = filled
    ? 'fill="currentColor"'
    : 'fill="none" stroke="currentColor" stroke-linecap="round" stroke-linejoin="round"';
  return `<symbol id="${name.replace("/", "-")}" viewBox="0 0 24 24" ${ink}>${paths}</symbol>`;
}

// Built beside the target and put in its place at once, so that a server never sees half a build.
const fresh = `${TARGET}.new`;
await rm(fresh, { recursive: true, force: true });
await mkdir(fresh, { recursive: true });
const manifest = { ...(await bundle(fresh)), ...(await sprite(fresh)) };
await writeFile(path.join(fresh, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`);
await rm(TARGET, { recursive: true, force: true });
await rename(fresh, TARGET);
