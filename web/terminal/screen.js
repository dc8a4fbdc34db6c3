// One terminal's screen: xterm.js with our colours, and without what output may not do.
//
// A program in the slice may be hostile, or print a hostile file: titles, clipboards, notifications
// and working folders that it announces go nowhere, and a link is only ever offered.

import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";

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

// Titles (0, 1, 2), working folder (7), notifications (9, 99, 777), clipboard (52), iTerm2 (1337).
const SWALLOWED = [0, 1, 2, 7, 9, 52, 99, 777, 1337];
const DIM = "\x1b[38;2;143;152;165m";

/**
 * Let xterm style its screen under our policy, until the function returned is called: <style>
 * elements get the page's nonce, and a style attribute (24-bit colours) is set as a property, which
 * the policy allows.
 */
export function lendNonce(nonce) {
  const make = document.createElement;
  document.createElement = function (name, ...rest) {
    const element = make.call(this, name, ...rest);
    if (String(name).toLowerCase() === "style") element.setAttribute("nonce", nonce);
    return element;
  };
  const set = Element.prototype.setAttribute;
  Element.prototype.setAttribute = function (name, value) {
    if (name === "style") this.style.cssText = value;
    else set.call(this, name, value);
  };
  return () => {
    document.createElement = make;
    Element.prototype.setAttribute = set;
  };
}

export class Screen {
  #fit = new FitAddon();
  #watcher;

  constructor(parent, { size, reader, leave, ask }) {
    this.box = document.createElement("div");
    this.box.className = "term-tab";
    parent.append(this.box);
    this.term = new Terminal({
      cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
      fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--gc-mono"),
      fontSize: size,
      lineHeight: 1.15,
      scrollback: 5000,
      screenReaderMode: reader,
      theme: THEME,
      linkHandler: { activate: (_, uri) => isWeb(uri) && ask(uri), allowNonHttpProtocols: false },
    });
    this.term.loadAddon(this.#fit);
    for (const code of SWALLOWED) this.term.parser.registerOscHandler(code, () => true);
    this.term.attachCustomKeyEventHandler((event) => {
      if (!(event.ctrlKey && event.shiftKey && event.key === "F6")) return true;
      if (event.type === "keydown") leave();
      return false;
    });
    this.term.open(this.box);
    this.#fit.fit();
    this.#watcher = new ResizeObserver(() => !this.box.hidden && this.#fit.fit());
    this.#watcher.observe(this.box);
  }

  show(visible) {
    this.box.hidden = !visible;
    if (visible) this.#fit.fit();
  }

  focus() {
    this.term.focus();
  }

  resize(size) {
    this.term.options.fontSize = size;
    if (!this.box.hidden) this.#fit.fit();
  }

  reads(on) {
    this.term.options.screenReaderMode = on;
  }

  /** Say something of ours in the terminal, dim, on lines of its own. */
  note(words) {
    const plain = words.replace(/[^\P{C}\n]/gu, "").replaceAll("\n", "\r\n");
    this.term.write(`\x1b[0m${DIM}${plain}\x1b[0m\r\n`);
  }

  remove() {
    this.#watcher.disconnect();
    this.term.dispose();
    this.box.remove();
  }
}

function isWeb(uri) {
  try {
    return ["http:", "https:"].includes(new URL(uri).protocol);
  } catch {
    return false;
  }
}
