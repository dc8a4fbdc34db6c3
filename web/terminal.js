// A shell on an allocation, in a <dialog>: xterm.js over a WebSocket.
//
// A one-time token is fetched first and sent as a subprotocol. We send JSON text frames
// {"type":"resize",cols,rows} and binary input; we get binary output and JSON text frames
// {"type":"state",state,reason}. Every state is shown in words: connecting, live, reconnecting,
// ended. Ctrl+Shift+F6 leaves the terminal for the buttons around it.

import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";

const PROTOCOL = "gpucloud.terminal.v1";
const BAD_TOKEN = 4401;
const RETRIES = [500, 1000, 2000, 4000, 8000];
const THEME = {
  background: "#0b0d10",
  foreground: "#d9dde3",
  cursor: "#eceef1",
  cursorAccent: "#0b0d10",
  selectionBackground: "#35437a",
  black: "#14171b",
  red: "#ff9f97",
  green: "#74dca0",
  yellow: "#f3c263",
  blue: "#9db0ff",
  magenta: "#c9a9fb",
  cyan: "#7fd0f2",
  white: "#d9dde3",
  brightBlack: "#8f98a5",
  brightRed: "#ffb1ab",
  brightGreen: "#9be8bb",
  brightYellow: "#f7d493",
  brightBlue: "#b9c6ff",
  brightMagenta: "#dbc6fd",
  brightCyan: "#a6e0f7",
  brightWhite: "#ffffff",
};

/** xterm makes <style> elements; the policy allows those that carry the page's nonce. */
function lendNonce(nonce) {
  const make = document.createElement;
  document.createElement = function (name, ...rest) {
    const element = make.call(this, name, ...rest);
    if (String(name).toLowerCase() === "style") element.setAttribute("nonce", nonce);
    return element;
  };
  return () => (document.createElement = make);
}

/**
 * Open the page's terminal. ``button`` names where a token is fetched (data-terminal); the dialog
 * carries this page's nonce: the button may be drawn again later, with another answer's.
 */
export async function open(button) {
  const dialog = document.getElementById("terminal");
  if (!dialog || dialog.open) return;
  const takeBack = lendNonce(dialog.dataset.nonce);
  const screen = dialog.querySelector("[data-screen]");
  const term = new Terminal({
    cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
    fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--gc-mono"),
    fontSize: 13,
    lineHeight: 1.35,
    scrollback: 5000,
    theme: THEME,
    allowProposedApi: false,
  });
  const fit = new FitAddon();
  term.loadAddon(fit);
  dialog.showModal();
  await document.fonts.ready;
  term.open(screen);
  fit.fit();
  const session = new Session({ dialog, term, address: button.dataset.terminal });

  term.attachCustomKeyEventHandler((event) => {
    if (event.ctrlKey && event.shiftKey && event.key === "F6") {
      dialog.querySelector("[data-close]").focus();
      return false;
    }
    return true;
  });
  const watcher = new ResizeObserver(() => {
    fit.fit();
    session.resize();
  });
  watcher.observe(screen);
  const controls = new AbortController();
  const listen = (target, kind, then) =>
    target.addEventListener(kind, then, { signal: controls.signal });
  listen(dialog.querySelector("[data-close]"), "click", () => dialog.close());
  listen(dialog.querySelector("[data-full]"), "click", () => dialog.classList.toggle("full"));
  listen(dialog.querySelector("[data-again]"), "click", () => session.connect());
  listen(dialog.querySelector("[data-reader]"), "change", (event) => {
    term.options.screenReaderMode = event.target.checked;
  });
  listen(dialog, "cancel", (event) => event.preventDefault()); // Escape belongs to the shell
  listen(dialog, "close", () => {
    controls.abort();
    watcher.disconnect();
    session.end();
    term.dispose();
    takeBack();
    screen.replaceChildren();
    button.focus();
  });
  session.connect();
  term.focus();
}

class Session {
  #socket = null;
  #tries = 0;
  #timer = 0;
  #over = false;
  #encoder = new TextEncoder();

  constructor({ dialog, term, address }) {
    this.dialog = dialog;
    this.term = term;
    this.address = address;
    term.onData((text) => this.#send(this.#encoder.encode(text)));
    term.onBinary((text) => this.#send(Uint8Array.from(text, (one) => one.charCodeAt(0))));
  }

  async connect() {
    clearTimeout(this.#timer);
    this.#over = false;
    this.#show(this.#tries ? "reconnecting" : "connecting");
    let grant;
    try {
      grant = await this.#token();
    } catch (problem) {
      if (problem.final) return this.#finish(problem.message);
      return this.#again("The server does not answer.");
    }
    const address = new URL(grant.websocket_url, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    address.host = location.host;
    const socket = new WebSocket(address, [PROTOCOL, grant.token]);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.addEventListener("message", (event) => this.#receive(event.data));
    socket.addEventListener("close", (event) => socket === this.#socket && this.#closed(event));
  }

  async #token() {
    const answer = await fetch(this.address, {
      method: "POST",
      headers: { Accept: "application/json" },
    });
    const body = await answer.json();
    if (answer.ok) return body;
    const error = new Error(body.detail || body.title || "The terminal cannot be opened.");
    error.final = answer.status >= 400 && answer.status < 500;
    throw error;
  }

  #receive(data) {
    if (typeof data !== "string") return this.term.write(new Uint8Array(data));
    const message = JSON.parse(data);
    if (message.type !== "state") return undefined;
    if (message.state === "live") {
      this.#tries = 0;
      this.#show("live");
      this.resize();
    } else if (message.state === "ended") {
      this.#finish(message.reason);
    }
    return undefined;
  }

  #closed(event) {
    if (this.#over) return;
    if (event.code === BAD_TOKEN) this.#again("The token was not accepted.");
    else if (event.code === 1000) this.#finish(event.reason || "The shell ended.");
    else this.#again("The connection was lost.");
  }

  #again(reason) {
    if (this.#over) return;
    const wait = RETRIES[this.#tries];
    if (wait === undefined) {
      this.#finish(`${reason} Gave up after ${RETRIES.length} tries.`);
      return;
    }
    this.#tries += 1;
    this.#show("reconnecting", `${reason} Trying again in ${wait / 1000} s.`);
    this.#timer = setTimeout(() => this.connect(), wait);
  }

  #finish(reason) {
    this.#over = true;
    this.#tries = 0;
    this.#show("ended", reason);
    this.#socket?.close();
    this.#socket = null;
  }

  resize() {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    const { cols, rows } = this.term;
    this.#socket.send(JSON.stringify({ type: "resize", cols, rows }));
  }

  end() {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
    this.#socket = null;
  }

  #send(bytes) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(bytes);
  }

  #show(state, reason = "") {
    this.dialog.dataset.state = state;
    for (const badge of this.dialog.querySelectorAll("[data-when]")) {
      badge.hidden = badge.dataset.when !== state;
    }
    this.dialog.querySelector("[data-say]").textContent = reason;
    this.dialog.querySelector("[data-again]").hidden = state !== "ended";
  }
}
