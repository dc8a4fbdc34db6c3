// What this browser remembers of terminals: the sessions of this window, and how people like them.
// A session's name opens nothing by itself: the server also wants a token of the same person.

const SIZE = "gc-terminal-size";
const READER = "gc-terminal-reader";
const SESSIONS = "gc-terminals:";

export function sessions(address) {
  try {
    const names = JSON.parse(sessionStorage.getItem(SESSIONS + address) ?? "[]");
    return names.filter((name) => typeof name === "string" && /^trm_[0-9a-f]+$/.test(name));
  } catch {
    return [];
  }
}

export function keepSessions(address, names) {
  keep(sessionStorage, SESSIONS + address, JSON.stringify(names));
}

export function size(usual) {
  return Number(read(SIZE)) || usual;
}

export function keepSize(pixels) {
  keep(localStorage, SIZE, String(pixels));
}

export function reader() {
  return read(READER) === "1";
}

export function keepReader(on) {
  keep(localStorage, READER, on ? "1" : "0");
}

function read(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null; // storage is switched off; everything works without
  }
}

function keep(storage, name, value) {
  try {
    storage.setItem(name, value);
  } catch {
    // likewise
  }
}
