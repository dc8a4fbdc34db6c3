// ⌘K: go to any page, find a workload, project, node or person by name, id, address or serial, or
// run an act on one by putting its verb in front ("release sft-llama"). Pages are the sidebar itself, so that nothing is
// offered that this person may not see; the rest is asked of the server, which knows what may be
// done just now. An act that needs a confirmation gets it.

import { open as openDialog } from "./dialogs.js";
import { say } from "./toasts.js";

const WAIT = 120;

export function start() {
  const opener = document.querySelector("[data-palette]");
  if (!opener) return;
  opener.hidden = false;
  document.addEventListener("click", (event) => {
    const pressed = event.target.closest("[data-palette], [data-palette-too]");
    if (pressed) open(pressed);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.metaKey || event.ctrlKey)) return;
    if (event.target.closest?.(".xterm") || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    open(document.activeElement ?? opener);
  });
}

function open(opener) {
  const operator = document.querySelector('.side a[href="/admin/nodes"]') !== null;
  const dialog = document.createElement("dialog");
  dialog.className = "dlg palette-dlg";
  dialog.setAttribute("aria-label", "Search or run a command");
  dialog.innerHTML = `<div class="palette-box"><input type="search" placeholder="A page, a name, an id, an address, or a verb and a name" aria-label="Search or run a command" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-autocomplete="list"></div>
<ul class="palette-list" id="palette-list" role="listbox" aria-label="Found"></ul><p class="sr" role="status"></p>
<p class="palette-hint xs t3">Verbs: <kbd>release</kbd> <kbd>restart</kbd> <kbd>cancel</kbd> <kbd>metrics</kbd> <kbd>cost</kbd> <kbd>access</kbd> <kbd>ssh</kbd> <kbd>terminal</kbd>${operator ? " <kbd>drain</kbd> <kbd>quarantine</kbd>" : ""}</p>`;
  document.body.append(dialog);
  const input = dialog.querySelector("input");
  const list = dialog.querySelector("ul");
  const status = dialog.querySelector("[role=status]");
  const pages = [...pagesOfMenu(), ...commands()];
  let at = 0;
  let found = [];
  let timer;
  let question = 0;

  const draw = () => {
    const asked = input.value.trim().toLowerCase();
    const words = asked.split(/\s+/);
    const fitting = pages.filter((one) => words.every((word) => `${one.group} ${one.title}`.toLowerCase().includes(word)));
    const rows = [...found, ...fitting];
    at = Math.max(0, Math.min(at, rows.length - 1));
    list.replaceChildren(...rows.map((one, index) => row(one, index, index === at)));
    input.setAttribute("aria-activedescendant", rows.length ? `palette-${at}` : "");
    list.children[at]?.scrollIntoView({ block: "nearest" });
    const said = rows.length ? `${rows.length} found` : "Nothing found";
    if (status.textContent !== said) status.textContent = said;
    list.hidden = rows.length === 0;
  };
  const ask = async () => {
    const now = ++question;
    const asked = input.value.trim();
    const answer = asked ? await fetch(`/find?q=${encodeURIComponent(asked)}`).catch(() => null) : null;
    const items = answer?.ok ? (await answer.json()).items : [];
    if (now !== question) return;
    found = items;
    draw();
  };
  input.addEventListener("input", () => {
    at = 0;
    found = [];
    draw();
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT);
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      at = Math.max(0, Math.min(at + (event.key === "ArrowDown" ? 1 : -1), list.children.length - 1));
      draw();
    } else if (event.key === "Enter") {
      event.preventDefault();
      list.children[at]?.querySelector("a").click();
    }
  });
  list.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link) return;
    const one = link.what;
    const posts = Object.keys(one.post ?? {}).length > 0;
    if (!one.run && !one.dialog && !one.copy && !posts) return;
    event.preventDefault();
    dialog.close();
    if (one.run) one.run();
    else if (posts) post(one);
    else if (one.copy) navigator.clipboard.writeText(one.copy).then(() => say("ok", "Copied."), () => say("bad", "The browser did not allow copying."));
    else openDialog(one.href, opener);
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    opener?.focus?.();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  draw();
  dialog.showModal();
  input.focus();
}

/** Send what stands in a line, as a form of the page would. */
function post({ href, post: fields }) {
  const form = document.createElement("form");
  form.method = "post";
  form.action = href;
  form.hidden = true;
  for (const [name, value] of Object.entries({ ...fields, back: location.pathname })) {
    const input = document.createElement("input");
    Object.assign(input, { type: "hidden", name, value });
    form.append(input);
  }
  document.body.append(form);
  form.submit();
}

function pagesOfMenu() {
  return [...document.querySelectorAll(".side a.nav-a")].map((link) => ({
    href: link.href,
    title: link.title,
    group: link.closest("[data-group]")?.dataset.group ?? "",
    picture: link.querySelector("svg"),
    keys: link.dataset.jump ? `g ${link.dataset.jump}` : "",
  }));
}

/** What can be done from anywhere. */
function commands() {
  const theme = document.querySelector("[data-theme-form]");
  const out = [
    { title: "Launch workload", group: "Command", href: "/launch", icon: "rocket", keys: "n" },
    { title: "Add funds", group: "Command", href: "/billing#add-funds", icon: "wallet" },
    { title: "Add an SSH key", group: "Command", href: "/access/ssh-keys", icon: "key" },
    { title: "Inbox", group: "Command", href: "/inbox", icon: "bell" },
  ];
  if (theme) out.push({ title: "Switch light and dark", group: "Command", href: "#", icon: "moon", run: () => theme.requestSubmit() });
  return out;
}

function row(one, index, selected) {
  const item = document.createElement("li");
  item.id = `palette-${index}`;
  item.setAttribute("role", "option");
  item.setAttribute("aria-selected", String(selected));
  const link = document.createElement("a");
  link.href = one.href;
  link.tabIndex = -1;
  link.what = one;
  link.append(one.picture?.cloneNode(true) ?? drawing(one.icon));
  const title = document.createElement("bdi");
  title.className = "grow trunc";
  title.textContent = one.title;
  link.append(title);
  const group = document.createElement("small");
  group.textContent = one.group;
  link.append(group);
  for (const key of (one.keys ?? "").split(" ").filter(Boolean)) {
    const cap = document.createElement("kbd");
    cap.textContent = key;
    link.append(cap);
  }
  item.append(link);
  return item;
}

/** An icon of the sprite that the page itself uses. */
function drawing(name) {
  const known = document.querySelector("svg.i use");
  const copy = known.ownerSVGElement.cloneNode(true);
  copy.setAttribute("class", "i");
  copy.querySelector("use").setAttribute("href", `${known.getAttribute("href").split("#")[0]}#${name}`);
  return copy;
}
