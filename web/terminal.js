// Shells on an allocation, in a <dialog>: xterm.js over WebSockets, one tab for each shell.
//
// The shells live in the server: closing the dialog, a reload or a lost connection keeps them for
// some minutes, and this window remembers their names. What is said on the socket stands in
// terminal/session.js, how it is drawn in terminal/screen.js. Ctrl+Shift+F6 leaves the terminal for
// the buttons around it.

import { lendNonce, Screen } from "./terminal/screen.js";
import { Session } from "./terminal/session.js";
import * as kept from "./terminal/kept.js";

const SIZES = [12.5, 14, 16, 20, 11];

/**
 * Open the page's terminal. ``button`` names where a token is fetched (data-terminal); the dialog
 * carries this page's nonce: the button may be drawn again later, with another answer's.
 */
export async function open(button) {
  const dialog = document.getElementById("terminal");
  if (!dialog || dialog.open) return;
  const takeBack = lendNonce(dialog.dataset.nonce);
  dialog.showModal();
  await document.fonts.ready;
  const shown = new TerminalWindow(dialog, button.dataset.terminal);
  dialog.addEventListener(
    "close",
    () => {
      shown.close();
      takeBack();
      (button.isConnected ? button : document.querySelector("[data-terminal]"))?.focus();
    },
    { once: true },
  );
}

class TerminalWindow {
  #tabs = [];
  #at = 0;
  #controls = new AbortController();

  constructor(dialog, address) {
    this.dialog = dialog;
    this.address = address;
    this.place = dialog.querySelector("[data-screen]");
    this.size = kept.size(SIZES[0]);
    this.reader = kept.reader();
    this.#listen();
    const names = kept.sessions(address);
    for (const name of names.length ? names : [""]) this.#add(name);
    this.#show(0);
  }

  close() {
    this.#controls.abort();
    for (const { session, screen } of this.#tabs) {
      session.leave();
      screen.remove();
    }
    this.#tabs = [];
  }

  #listen() {
    const { dialog } = this;
    const on = (target, kind, then) =>
      target.addEventListener(kind, then, { signal: this.#controls.signal });
    const find = (name) => dialog.querySelector(`[data-${name}]`);
    on(find("close"), "click", () => dialog.close());
    on(find("new"), "click", () => {
      this.#add("");
      this.#show(this.#tabs.length - 1);
    });
    on(find("tab"), "click", () => this.#show((this.#at + 1) % this.#tabs.length));
    on(find("full"), "click", (event) => {
      const full = dialog.classList.toggle("full");
      event.currentTarget.setAttribute("aria-pressed", String(full));
    });
    on(find("size"), "click", () => this.#resize());
    on(find("again"), "click", () => this.#again());
    on(find("link-no"), "click", () => this.#ask(null));
    on(find("link-yes"), "click", () => this.#ask(null));
    const reader = find("reader");
    reader.checked = this.reader;
    on(reader, "change", () => {
      this.reader = reader.checked;
      kept.keepReader(this.reader);
      for (const { screen } of this.#tabs) screen.reads(this.reader);
    });
    on(dialog, "cancel", (event) => event.preventDefault()); // Escape belongs to the shell
    on(window, "offline", () => this.#tabs.forEach(({ session }) => session.lost()));
    on(window, "online", () => this.#tabs.forEach(({ session }) => session.hurry()));
  }

  #add(name) {
    const screen = new Screen(this.place, {
      size: this.size,
      reader: this.reader,
      leave: () => this.dialog.querySelector("[data-close]").focus(),
      ask: (uri) => this.#ask(uri),
    });
    const session = new Session({
      address: this.address,
      banner: this.dialog.dataset.banner,
      screen,
      name,
      changed: () => this.#changed(),
    });
    this.#tabs.push({ session, screen });
    session.connect();
  }

  #show(number) {
    this.#at = number;
    this.#tabs.forEach(({ screen }, index) => screen.show(index === number));
    this.#changed();
    this.#tabs[number].screen.focus();
  }

  #resize() {
    this.size = SIZES[(SIZES.indexOf(this.size) + 1) % SIZES.length];
    kept.keepSize(this.size);
    for (const { screen } of this.#tabs) screen.resize(this.size);
    this.#tabs[this.#at].screen.focus();
  }

  #again() {
    const { session, screen } = this.#tabs[this.#at];
    session.again();
    screen.focus();
  }

  /** A link in the output is shown in full first; it opens when it is pressed there. */
  #ask(uri) {
    const bar = this.dialog.querySelector("[data-link]");
    const target = this.dialog.querySelector("[data-link-yes]");
    bar.hidden = uri === null;
    this.dialog.querySelector("[data-link-text]").textContent = uri ?? "";
    if (uri === null) {
      target.removeAttribute("href");
      this.#tabs[this.#at]?.screen.focus();
    } else {
      target.href = uri;
      target.focus();
    }
  }

  #changed() {
    const { session } = this.#tabs[this.#at] ?? {};
    if (!session) return;
    const { dialog } = this;
    kept.keepSessions(
      this.address,
      this.#tabs.map((tab) => tab.session.name).filter(Boolean),
    );
    dialog.dataset.state = session.state;
    for (const badge of dialog.querySelectorAll("[data-when]")) {
      badge.hidden = badge.dataset.when !== session.state;
    }
    say(dialog.querySelector("[data-latency]"), session.latency);
    say(dialog.querySelector("[data-tries]"), session.tries > 1 ? `, try ${session.tries}` : "");
    say(dialog.querySelector("[data-say]"), session.words);
    const again = dialog.querySelector("[data-again]");
    again.hidden = session.state !== "ended";
    say(again, session.isElsewhere ? "Take it back" : "Open a new shell");
    const tab = dialog.querySelector("[data-tab]");
    say(tab, `tab ${this.#at + 1} of ${this.#tabs.length}`);
    tab.disabled = this.#tabs.length < 2;
  }
}

/** Change a text only if it is another: what is said again is read out again. */
function say(element, words) {
  if (element.textContent !== words) element.textContent = words;
}
