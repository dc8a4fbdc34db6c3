// Light, dark or the system's. The choice is a cookie, so that the server draws it: no flash.
// Without JavaScript the same button posts a form.

import { keep, kept } from "./cookies.js";

export function start() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && kept("gpucloud-zone") !== zone) keep("gpucloud-zone", zone);

  document.addEventListener("submit", (event) => {
    const form = event.target.closest("[data-theme-form]");
    if (!form) return;
    event.preventDefault();
    const root = document.documentElement;
    const pinned = root.dataset.bsTheme;
    const dark = pinned ? pinned === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.bsTheme = dark ? "light" : "dark";
    keep("gpucloud-theme", root.dataset.bsTheme);
  });

  pressed();
  document.addEventListener("click", (event) => {
    const choice = event.target.closest("[data-density]");
    if (!choice || choice === document.documentElement) return;
    event.preventDefault();
    const compact = choice.dataset.density === "compact";
    if (compact) document.documentElement.dataset.density = "compact";
    else delete document.documentElement.dataset.density;
    keep("gpucloud-density", compact ? "compact" : "");
    pressed();
  });
}

function pressed() {
  const now = document.documentElement.dataset.density ?? "comfortable";
  for (const button of document.querySelectorAll("button[data-density]")) {
    button.setAttribute("aria-pressed", String(button.dataset.density === now));
  }
}
