// Lists: search while typing, rows kept current without moving what is being read, selection, and
// what happens when the rows do not come. The server draws everything; this puts it in its place.
//
// A row that changed is patched in place. A row that has left the view stays, struck, and says
// where it went. New rows wait behind "3 new · Show", so that nothing moves under the pointer.

import { Idiomorph } from "idiomorph";

const WAIT = 250;
const SKELETON_AFTER = 200;
const SKELETON_STAYS = 400;

const selected = new Set();
const standing = new WeakMap(); // a card's own rows, while grey bars stand in for them
let asked = 0; // the newest question; answers to older ones are dropped

export function start() {
  const list = document.querySelector("[data-list]");
  remember();
  if (!list) return;
  startFilter(list);
  startSelection(list);
  showTab();
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-show-new]")) load(list, location.href);
  });
}

// ---- where one came from ---------------------------------------------------------------------

/** A list's address is kept, so that the way back from a detail leads to the very same rows. */
function remember() {
  try {
    const list = document.querySelector("[data-list]");
    if (list) sessionStorage.setItem(`gc-list:${list.dataset.path}`, location.search);
    for (const link of document.querySelectorAll("a[data-back]")) {
      const search = sessionStorage.getItem(`gc-list:${link.getAttribute("href")}`);
      if (search) link.href += search;
    }
  } catch {
    // a browser that keeps nothing leads back to the whole list
  }
}

/** On a narrow screen the tabs scroll: the one that is open is to be seen. */
function showTab() {
  const tab = document.querySelector("#views [aria-current]");
  tab?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

// ---- filtering -------------------------------------------------------------------------------

function startFilter(list) {
  let timer;
  const refilter = (form) => {
    clearTimeout(timer);
    const address = new URL(form.action);
    for (const [name, value] of new FormData(form)) if (value) address.searchParams.set(name, value);
    load(list, address.href);
  };
  document.addEventListener("input", (event) => {
    const box = event.target.closest("[data-search]");
    if (!box) return;
    clearTimeout(timer);
    timer = setTimeout(() => refilter(box.form), WAIT);
  });
  document.addEventListener("change", (event) => {
    const form = event.target.form;
    if (form?.matches("[data-submit-on-change]")) form.requestSubmit();
    else if (form?.matches("[data-filter]") && !event.target.matches("[data-search]")) refilter(form);
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-filter]")) return;
    event.preventDefault();
    refilter(event.target);
    for (const menu of event.target.querySelectorAll("[data-pop][open]")) menu.open = false;
  });
}

/** Load the list at ``address`` and let the browser's address follow. */
export async function load(list, address, { retried = false } = {}) {
  const question = ++asked;
  const place = list.querySelector("#list");
  const skeleton = waitForRows(list, place);
  list.querySelector(".list-trouble")?.remove();
  let answer;
  let page;
  try {
    answer = await fetch(address, { headers: { Accept: "text/html" } });
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    answer = null;
  }
  await skeleton.over();
  if (question !== asked) return;
  const fresh = page?.querySelector("[data-list]");
  if (answer?.status === 429) return rateLimited(list, address, answer, retried);
  if (!answer?.ok || !fresh) return trouble(list, address, answer, page);
  history.replaceState(null, "", address);
  place.replaceWith(fresh.querySelector("#list"));
  for (const id of ["views", "own-views", "chips", "export", "total"]) {
    const part = page.getElementById(id);
    if (part) document.getElementById(id)?.replaceWith(part);
  }
  list.dataset.address = fresh.dataset.address;
  if (fresh.dataset.rows) list.dataset.rows = fresh.dataset.rows;
  remember();
  showSelection(list);
}

/** After 200 ms grey bars stand where the rows will be, and then for 400 ms at least. */
function waitForRows(list, place) {
  let shown = 0;
  const card = place.querySelector(".list-card");
  const rows = standing.get(card) ?? [...card.childNodes];
  standing.set(card, rows);
  place.setAttribute("aria-busy", "true");
  const timer = setTimeout(() => {
    shown = Date.now();
    card.replaceChildren(list.querySelector("[data-skeleton]").content.cloneNode(true));
  }, SKELETON_AFTER);
  return {
    async over() {
      clearTimeout(timer);
      const left = shown ? shown + SKELETON_STAYS - Date.now() : 0;
      if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
      if (shown && card.isConnected) card.replaceChildren(...rows);
      standing.delete(card);
      place.removeAttribute("aria-busy");
    },
  };
}

function trouble(list, address, answer, page) {
  const note = list.querySelector("[data-trouble]").content.firstElementChild.cloneNode(true);
  const said = page?.querySelector("h1")?.textContent;
  const reference = answer?.headers.get("x-correlation-id");
  let text = answer ? `${said ?? "The server could not."} ` : "No answer from the server. ";
  text += "What you see is older; your work and your money are not affected.";
  if (reference) text += ` Request ${reference}.`;
  note.querySelector("[data-text]").textContent = text;
  note.querySelector("[data-retry]").addEventListener("click", () => load(list, address));
  const place = list.querySelector("#list");
  place.classList.add("stale");
  place.prepend(note);
}

/** Say when the server takes questions again, and ask once more by itself. */
function rateLimited(list, address, answer, retried) {
  trouble(list, address, answer, null);
  const note = list.querySelector(".list-trouble");
  note.dataset.tone = "warn";
  let left = Number(answer.headers.get("retry-after")) || 5;
  const text = note.querySelector("[data-text]");
  note.querySelector("[data-title]").textContent = "Too many questions in a short time.";
  const tick = () => {
    if (!note.isConnected) return clearInterval(timer);
    text.textContent = retried ? `Try again in ${left} s.` : `Asking again in ${left} s.`;
    if (left-- > 0) return undefined;
    clearInterval(timer);
    return retried ? undefined : load(list, address, { retried: true });
  };
  const timer = setInterval(tick, 1000);
  tick();
}

// ---- staying current -------------------------------------------------------------------------

/** Patch the rows of the list ``old`` from ``fresh``, the same list drawn anew. */
export async function patchRows(old, fresh) {
  if (old.hasAttribute("aria-busy")) return;
  const body = old.querySelector("tbody");
  const next = fresh.querySelector("tbody");
  if (!body || !next) {
    if (old.outerHTML !== fresh.outerHTML) old.replaceWith(fresh);
    return;
  }
  old.classList.remove("stale");
  const rows = new Map([...next.querySelectorAll("[data-row]")].map((row) => [row.dataset.row, row]));
  const here = [...body.querySelectorAll("[data-row]")];
  const missing = [];
  for (const row of here) {
    const now = rows.get(row.dataset.row);
    if (now) patch(row, now);
    else if (!("gone" in row.dataset)) missing.push(row);
  }
  const known = new Set(here.map((row) => row.dataset.row));
  announce(old, [...rows.keys()].filter((id) => !known.has(id)).length);
  if (missing.length) await follow(old.closest("[data-list]"), missing);
  showSelection(old.closest("[data-list]"));
}

function patch(row, now) {
  if (row.outerHTML === now.outerHTML) return;
  const before = new Map([...row.cells].map((cell) => [cell.dataset.c, cell.textContent]));
  const checked = row.querySelector(".pick input")?.checked;
  Idiomorph.morph(row, now, { ignoreActiveValue: true, restoreFocus: true });
  const box = row.querySelector(".pick input");
  if (box) box.checked = Boolean(checked);
  for (const cell of row.cells) {
    if (!cell.dataset.c || cell.querySelector("time") || before.get(cell.dataset.c) === cell.textContent) continue;
    cell.classList.add("changed");
    cell.addEventListener("animationend", () => cell.classList.remove("changed"), { once: true });
  }
}

/** Ask what became of rows that are not in the newest answer. */
async function follow(list, rows) {
  if (!list.dataset.rows) {
    for (const row of rows) row.classList.add("gone");
    return;
  }
  const address = new URL(list.dataset.rows, location.href);
  for (const row of rows) address.searchParams.append("id", row.dataset.row);
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const found = new Map([...page.querySelectorAll("[data-row]")].map((row) => [row.dataset.row, row]));
  for (const row of rows) {
    const now = found.get(row.dataset.row);
    if (!now) row.classList.add("gone");
    else if ("gone" in now.dataset) {
      const focused = row.contains(document.activeElement);
      const place = document.importNode(now, true);
      row.replaceWith(place);
      if (focused) place.querySelector("a")?.focus();
      selected.delete(row.dataset.row);
    } else patch(row, now);
  }
}

function announce(place, count) {
  const bar = place.querySelector("[data-new]");
  if (!bar) return;
  bar.hidden = count === 0;
  const words = `${count} new · Show`;
  const button = bar.querySelector("button");
  if (count && button.textContent !== words) button.textContent = words;
}

// ---- selection -------------------------------------------------------------------------------

function startSelection(list) {
  let last = null;
  list.addEventListener("click", (event) => {
    const box = event.target.closest(".pick input");
    if (!box) return;
    const boxes = [...list.querySelectorAll("td.pick input")];
    if ("selectAll" in box.dataset) for (const one of boxes) one.checked = box.checked;
    else if (event.shiftKey && last?.isConnected) {
      const [from, to] = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
      for (const one of boxes.slice(from, to + 1)) one.checked = box.checked;
    }
    if (!("selectAll" in box.dataset)) last = box;
    keepSelection(list);
  });
  list.addEventListener("reset", () => setTimeout(() => keepSelection(list)));
  addEventListener("pageshow", () => keepSelection(list));
  keepSelection(list);
}

function keepSelection(list) {
  selected.clear();
  for (const box of list.querySelectorAll("td.pick input:checked")) selected.add(box.value);
  showSelection(list);
}

function showSelection(list) {
  if (!list?.querySelector("[data-bulk]")) return;
  const boxes = [...list.querySelectorAll("td.pick input")];
  for (const box of boxes) {
    box.checked = selected.has(box.value);
    box.closest("tr").setAttribute("aria-selected", String(box.checked));
  }
  const count = boxes.filter((box) => box.checked).length;
  const all = list.querySelector("[data-select-all]");
  if (all) {
    all.checked = count > 0 && count === boxes.length;
    all.indeterminate = count > 0 && count < boxes.length;
  }
  const words = list.querySelector("[data-selected]");
  if (words) words.textContent = `${count} selected`;
}
