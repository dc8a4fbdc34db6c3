// Keeps what is on screen current. Regions marked data-live="topic …" are drawn again from this
// page's own address when the server says that one of their topics changed, and morphed in place:
// focus, selection and scroll stay.
//
// One stream per browser: a browser allows six connections per origin. The visible tab that holds
// a lock opens it and passes what it hears to the others. Without a stream we ask every 5 s, and
// after a question that got no answer we ask again, each browser at a moment of its own. A hidden
// tab does none of this, and catches up when it is looked at.

import { Idiomorph } from "idiomorph";

import { patchRows } from "./list.js";

const STREAM = "/live";
const POLL = 5000;
const SETTLE = 200;

const channel = "BroadcastChannel" in window ? new BroadcastChannel("gc-live") : null;
let source = null;
let poll = null;
let again = null;
let pending = null;
let paused = false;
let updated = Date.now();
let failing = false;
const waiting = new Set();
let letGo = null;

/** A drawing whose data did not change stays as it is; an open table stays open. */
const MORPH = {
  ignoreActiveValue: true,
  restoreFocus: true,
  callbacks: {
    beforeNodeMorphed: (old, now) => !(old.dataset?.chart && old.dataset.chart === now.dataset?.chart),
    beforeAttributeUpdated: (name, element) => !(name === "open" && element.matches(".plot-table")),
  },
};

export function start() {
  if (!document.querySelector("[data-live]")) return;
  channel?.addEventListener("message", (event) => hear(event.data));
  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : wake()));
  window.addEventListener("online", () => hear(["*"]));
  document.addEventListener("gc-changed", () => hear(["*"]));
  document.addEventListener("click", togglePause);
  setInterval(note, 1000);
  note();
  if (!document.hidden) lead();
}

/** Become the tab that listens, as soon as no other visible tab does. */
function lead() {
  if (!navigator.locks || !channel) {
    poll ??= setInterval(refresh, POLL);
    return;
  }
  navigator.locks.request("gc-live", () => {
    if (document.hidden) return undefined;
    listen();
    return new Promise((resolve) => (letGo = resolve));
  });
}

function listen() {
  source = new EventSource(STREAM);
  source.addEventListener("open", () => {
    failing = false;
    clearInterval(poll);
    poll = null;
    hear(["*"]); // something may have changed between drawing this page and listening
  });
  source.addEventListener("changed", (event) => {
    const topics = event.data.split(" ");
    channel.postMessage(topics);
    hear(topics);
  });
  source.addEventListener("error", () => {
    failing = true;
    poll ??= setInterval(() => hear(["*"]), POLL);
    if (source?.readyState === EventSource.CLOSED) soon(relisten); // the browser has given up
  });
}

function relisten() {
  if (source?.readyState !== EventSource.CLOSED) return;
  source.close();
  listen();
}

/** Do something in a while that differs from browser to browser. */
function soon(what) {
  return setTimeout(what, POLL * (0.2 + 0.8 * Math.random()));
}

function rest() {
  source?.close();
  source = null;
  clearInterval(poll);
  clearTimeout(again);
  poll = again = null;
  letGo?.();
  letGo = null;
}

function wake() {
  hear(["*"]);
  lead();
}

function hear(topics) {
  if (document.hidden) return;
  for (const topic of topics) waiting.add(topic);
  pending ??= setTimeout(() => {
    pending = null;
    const heard = [...waiting];
    waiting.clear();
    const concerned = heard.includes("*") || heard.some((topic) => document.querySelector(`[data-live~="${topic}"]`));
    if (concerned) refresh();
  }, SETTLE);
}

async function refresh() {
  if (paused || document.hidden || document.querySelector("[data-pop][open]")) return;
  let page;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html", "X-Live": "1" } });
    if (answer.status === 401 || answer.redirected) return location.reload();
    if (!answer.ok) throw new Error(String(answer.status));
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    failing = true;
    again ??= soon(() => {
      again = null;
      hear(["*"]);
    });
    return note();
  }
  failing = false;
  updated = Date.now();
  for (const old of document.querySelectorAll("[data-live][id]")) {
    const fresh = page.getElementById(old.id);
    if (fresh && "rowsLive" in old.dataset) {
      await patchRows(old, fresh).catch(() => {}); // the next look catches up
    } else if (fresh && fresh.outerHTML !== old.outerHTML) {
      Idiomorph.morph(old, fresh, MORPH);
    }
  }
  document.dispatchEvent(new Event("gc-redrawn"));
  document.title = page.title;
  return note();
}

function togglePause(event) {
  if (!event.target.closest("[data-live-pause]")) return;
  paused = !paused;
  if (!paused) hear(["*"]);
  note();
}

/** Say how current the page is; the server draws these hidden, also when it draws them again. */
function note() {
  for (const button of document.querySelectorAll("[data-live-pause]")) {
    button.hidden = false;
    const verb = paused ? "Resume" : "Pause";
    if (button.textContent !== verb) button.textContent = verb;
  }
  for (const element of document.querySelectorAll("[data-live-note]")) {
    const at = new Date(updated).toLocaleTimeString([], { hour12: false });
    if (paused) set(element, "paused", `Paused · data from ${at}`);
    else if (failing) set(element, "stale", `Reconnecting… data from ${at}`);
    else set(element, "live", `Live · ${ago(Date.now() - updated)}`);
  }
}

/** Steps of five seconds: this is a comfort, not a clock. */
function ago(milliseconds) {
  const seconds = Math.floor(milliseconds / 5000) * 5;
  if (seconds < 5) return "now";
  return seconds < 60 ? `${seconds} s ago` : `${Math.floor(seconds / 60)} min ago`;
}

function set(element, state, words) {
  element.hidden = false;
  if (element.dataset.state === state && element.textContent === words) return;
  element.dataset.state = state;
  element.textContent = words;
}
