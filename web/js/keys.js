// Shortcuts: "/" searches, "g" and a letter goes somewhere, "n" launches, "?" lists them, and a
// page's own keys press what is marked with them. Inert where one types, in the terminal, and
// when turned off (WCAG 2.1.4).

import { kept, keep } from "./cookies.js";
import { show } from "./dialogs.js";

const OFF = "gpucloud-keys";
let jumping = 0;

export function start() {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.metaKey || event.ctrlKey || event.altKey) return;
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    if (event.key === "?") return help(event);
    if (kept(OFF) === "off") return;
    if (Date.now() - jumping < 1500) {
      jumping = 0;
      const target = document.querySelector(`[data-jump="${CSS.escape(event.key)}"]`);
      if (target) return press(event, target);
    }
    if (event.key === "g") jumping = Date.now();
    else if (event.key === "/") focusSearch(event);
    else if (event.key === "n") press(event, document.querySelector('a[href="/launch"]'));
    else if (event.key === "j" || event.key === "k") moveRow(event);
    else if (event.key === "x") pressInRow(event, ".pick input");
    else if (event.key === "e") pressInRow(event, ".acts summary");
    else press(event, document.querySelector(`[data-key="${CSS.escape(event.key)}"]`));
  });
  document.querySelector("[data-help]")?.addEventListener("click", help);
}

function typing(element) {
  return Boolean(element.closest?.("input, textarea, select, [contenteditable], .xterm"));
}

function press(event, target) {
  if (!target) return;
  event.preventDefault();
  target.click();
}

function focusSearch(event) {
  const box = document.querySelector("[data-search]") ?? document.querySelector("[data-palette]");
  if (!box) return;
  event.preventDefault();
  if (box.matches("input")) box.focus();
  else box.click();
}

function moveRow(event) {
  const names = [...document.querySelectorAll(".tbl tbody .name")];
  if (!names.length) return;
  event.preventDefault();
  const step = event.key === "j" ? 1 : -1;
  const row = document.activeElement.closest?.("tbody tr");
  const here = names.indexOf(row?.querySelector(".name"));
  names[Math.min(Math.max(here + step, 0), names.length - 1)].focus();
}

/** Press something in the row that has the focus: its checkbox, its menu. */
function pressInRow(event, what) {
  const target = event.target.closest?.("tbody tr")?.querySelector(what);
  if (!target) return;
  event.preventDefault();
  target.click();
  target.closest("details")?.querySelector(".menu a, .menu button")?.focus();
}

function help(event) {
  event.preventDefault();
  const body = document.createElement("section");
  body.setAttribute("aria-labelledby", "keys-title");
  body.append(heading("Keyboard shortcuts"), list(), footer());
  show(body, document.activeElement);
}

function heading(text) {
  const head = document.createElement("div");
  head.className = "dlg-h";
  const title = document.createElement("h2");
  title.id = "keys-title";
  title.textContent = text;
  head.append(title);
  return head;
}

function list() {
  const rows = [
    ["Search, or run a command", "⌘K"],
    ["Search this list", "/"],
    ["Launch", "n"],
    ["Next and previous row", "j k"],
    ["Open the row", "Enter"],
    ["Select the row", "x"],
    ["What can be done with the row", "e"],
    ["Open the terminal, on a workload", "t"],
    ["Leave the terminal", "Ctrl ⇧ F6"],
    ["This list", "?"],
  ];
  for (const link of document.querySelectorAll("[data-jump]")) {
    rows.push([`Go to ${link.title}`, `g ${link.dataset.jump}`]);
  }
  const facts = document.createElement("dl");
  facts.className = "keys";
  for (const [what, keys] of rows) {
    const name = document.createElement("dt");
    name.textContent = what;
    const value = document.createElement("dd");
    for (const key of keys.split(" ")) {
      const cap = document.createElement("kbd");
      cap.textContent = key;
      value.append(cap, " ");
    }
    facts.append(name, value);
  }
  const box = document.createElement("div");
  box.className = "dlg-b";
  box.append(facts);
  return box;
}

function footer() {
  const foot = document.createElement("div");
  foot.className = "dlg-f";
  const toggle = document.createElement("button");
  toggle.type = "button";
  toggle.className = "btn";
  const name = () => (toggle.textContent = kept(OFF) === "off" ? "Turn shortcuts on" : "Turn shortcuts off");
  toggle.addEventListener("click", () => {
    keep(OFF, kept(OFF) === "off" ? "" : "off");
    name();
  });
  name();
  const close = document.createElement("button");
  close.type = "button";
  close.className = "btn";
  close.dataset.cancel = "";
  close.textContent = "Close";
  foot.append(toggle, close);
  return foot;
}
