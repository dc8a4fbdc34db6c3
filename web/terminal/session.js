// One shell: its socket may break and come back, its bytes may not.
//
// Both sides count. We tell how many bytes we have seen and acknowledge what is drawn; the server
// tells how many typed bytes have arrived, and we send the rest again. Words on the socket are JSON
// in text frames (src/gpucloud_web/terminals/frames.py), bytes are binary frames. A token opens one
// socket, once; it travels as a subprotocol.

const PROTOCOL = "gpucloud.terminal.v1";
const TRIES_MS = [300, 1000, 2000, 4000, 8000];
const PING_MS = 10_000;
const CHUNK = 16 * 1024;
const UNDER_WAY_MAX = 48 * 1024; // typed bytes that the shell has not taken yet
const KEPT_MAX = 64 * 1024; // typed bytes that wait for a connection
const ACK_EVERY = 64 * 1024;
const ACK_MS = 200;

export class Session {
  state = "connecting";
  words = "";
  latency = "";
  tries = 0;
  isElsewhere = false; // another window shows this shell

  #socket = null;
  #timer = 0;
  #pinger = 0;
  #acker = 0;
  #pinged = null;
  #pings = 0;
  #lostAt = 0;
  #keptMs = 300_000;
  #attempt = 0;
  #isOver = false;
  #isNew = true; // its screen is blank
  #before = ""; // why the shell that was asked for is over
  #seen = 0;
  #drawn = 0;
  #acked = 0;
  #muteUntil = 0; // replies to what is only shown again go nowhere
  #typed = []; // what may have to be sent again, as [place, bytes]
  #typedEnd = 0;
  #sentEnd = 0;
  #taken = 0;
  #encoder = new TextEncoder();

  constructor({ address, banner, screen, name, changed }) {
    Object.assign(this, { address, banner, screen, name, changed });
    screen.term.onData((text) => this.#type(this.#encoder.encode(text)));
    screen.term.onBinary((text) => this.#type(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    screen.term.onResize(({ cols, rows }) => this.#say({ type: "resize", cols, rows }));
  }

  async connect() {
    clearTimeout(this.#timer);
    const attempt = (this.#attempt += 1);
    this.#show(this.tries ? "reconnecting" : "connecting", this.words);
    let grant;
    try {
      grant = await this.#token();
    } catch (problem) {
      if (this.#isOver || attempt !== this.#attempt) return;
      if (problem.isFinal) this.#finish(problem.message);
      else this.#retry();
      return;
    }
    if (this.#isOver || attempt !== this.#attempt) return;
    const socket = new WebSocket(this.#url(grant), [PROTOCOL, grant.token]);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    const ours = (then) => (event) => socket === this.#socket && then(event);
    socket.addEventListener("message", ours((event) => this.#receive(event.data)));
    socket.addEventListener("close", ours(() => this.#retry()));
  }

  /** Try at once, if we wait. */
  hurry() {
    if (this.state === "reconnecting" && this.#socket === null) this.connect();
  }

  /** The connection is known to be gone, before its socket knows. */
  lost() {
    if (this.#socket && !this.#isOver) this.#retry();
  }

  /** Open another shell where this one ended, or take it back from another window. */
  again() {
    this.#isOver = false;
    if (!this.isElsewhere) {
      this.#forget();
      this.screen.term.reset();
    }
    this.isElsewhere = false;
    this.#lostAt = 0;
    this.connect();
  }

  /** Leave the shell where it is; the server keeps it for a while. */
  leave() {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#hangUp();
  }

  #forget() {
    Object.assign(this, { name: "", tries: 0, words: "" });
    this.#isNew = true;
    this.#seen = this.#drawn = this.#acked = this.#muteUntil = 0;
    this.#typed = [];
    this.#typedEnd = this.#sentEnd = this.#taken = 0;
  }

  async #token() {
    const answer = await fetch(this.address, {
      method: "POST",
      headers: { Accept: "application/json" },
    });
    if (answer.ok) return answer.json();
    const body = await answer.json().catch(() => ({}));
    const error = new Error(body.detail || body.title || "The terminal cannot be opened.");
    error.isFinal = answer.status >= 400 && answer.status < 500 && answer.status !== 429;
    throw error;
  }

  #url(grant) {
    const url = new URL(grant.websocket_url, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.host = location.host;
    const { cols, rows } = this.screen.term;
    url.search = new URLSearchParams({
      acks: "1",
      cols,
      rows,
      ...(this.name && { session: this.name }),
      ...(this.name && !this.#isNew && { seen: this.#seen }),
    });
    return url;
  }

  #receive(data) {
    if (typeof data !== "string") {
      this.#draw(new Uint8Array(data));
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "state" && message.state === "live") this.#live(message);
    else if (message.type === "state") this.#ended(message);
    else if (message.type === "typed") this.#trim(message.typed);
    else if (message.type === "notice") this.#show(this.state, message.words);
    else if (message.type === "pong" && this.#pinged?.number === message.number) {
      this.latency = `, ${Math.round(performance.now() - this.#pinged.at)} ms`;
      this.#pinged = null;
      this.changed();
    }
  }

  #live(message) {
    this.#keptMs = message.kept_seconds * 1000;
    this.#lostAt = 0;
    this.tries = 0;
    this.name = message.session;
    if (this.#isNew) this.#greet(message);
    else if (message.lost) this.screen.note(`\n[${size(message.lost)} were dropped]`);
    this.#seen = this.#drawn = this.#acked = message.offset;
    if (this.#isNew) {
      this.#typedEnd = message.typed + this.#typedEnd;
      this.#typed = this.#typed.map(([place, bytes]) => [place + message.typed, bytes]);
    }
    this.#isNew = false;
    this.#trim(message.typed);
    this.#sentEnd = message.typed;
    this.#show("live", message.lost ? `${size(message.lost)} of older output were dropped.` : "");
    this.#flush();
    this.#ping();
  }

  #greet({ resumed, lines, end, lost }) {
    if (this.banner) this.screen.note(this.banner);
    if (this.#before) this.screen.note(`The shell from before has ended. ${this.#before}`);
    this.#before = "";
    if (resumed) {
      const count = lines === 1 ? "1 line" : `${lines.toLocaleString()} lines`;
      const dropped = lost ? `, ${size(lost)} before them were dropped` : "";
      this.screen.note(`session resumed, ${count} replayed${dropped}`);
      this.#muteUntil = end;
    }
    this.screen.note("");
  }

  #draw(bytes) {
    this.#seen += bytes.length;
    const upTo = this.#seen;
    this.screen.term.write(bytes, () => {
      this.#drawn = upTo;
      if (upTo - this.#acked >= ACK_EVERY) this.#acknowledge();
      else this.#acker ||= setTimeout(() => this.#acknowledge(), ACK_MS);
    });
  }

  #acknowledge() {
    clearTimeout(this.#acker);
    this.#acker = 0;
    this.#acked = this.#drawn;
    this.#say({ type: "ack", offset: this.#drawn });
  }

  #ended({ code, reason, before }) {
    if (before && this.#isNew) {
      this.#hangUp();
      this.#forget(); // remembered from before, and over since: a new shell is what is wanted
      this.#before = reason;
      this.connect();
      return;
    }
    this.isElsewhere = code === "taken_over";
    this.#finish(reason);
  }

  #retry() {
    this.#hangUp();
    if (this.#isOver) return;
    const now = performance.now();
    this.#lostAt ||= now;
    if (now - this.#lostAt > this.#keptMs) {
      this.#finish("The connection could not be made again in time.");
      return;
    }
    const wait = TRIES_MS[Math.min(this.tries, TRIES_MS.length - 1)] * (0.75 + Math.random() / 2);
    this.tries += 1;
    this.#show("reconnecting", "The connection was lost. What you type is kept and sent later.");
    this.#timer = setTimeout(() => this.connect(), wait);
  }

  #finish(reason) {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#hangUp();
    if (!this.isElsewhere) this.name = "";
    this.tries = 0;
    this.#show("ended", reason);
  }

  #hangUp() {
    clearTimeout(this.#pinger);
    clearTimeout(this.#acker);
    this.#acker = 0;
    const socket = this.#socket;
    this.#socket = null;
    this.#pinged = null;
    this.latency = "";
    socket?.close(1000);
  }

  /** Ask now and again: it keeps the way open, measures it, and notices when it is gone. */
  #ping() {
    clearTimeout(this.#pinger);
    if (this.#pinged) {
      this.#retry();
      return;
    }
    this.#pinged = { number: (this.#pings += 1), at: performance.now() };
    this.#say({ type: "ping", number: this.#pinged.number });
    this.#pinger = setTimeout(() => this.#ping(), PING_MS);
  }

  #type(bytes) {
    if (this.#isOver || this.#drawn < this.#muteUntil) return;
    if (this.state !== "live" && this.#typedEnd - this.#taken > KEPT_MAX) {
      this.#show(this.state, "The connection was lost. No more of what you type can be kept.");
      return;
    }
    for (let at = 0; at < bytes.length; at += CHUNK) {
      const chunk = bytes.subarray(at, at + CHUNK);
      this.#typed.push([this.#typedEnd, chunk]);
      this.#typedEnd += chunk.length;
    }
    this.#flush();
  }

  /** Send what was not sent on this socket, as far as the shell keeps up. */
  #flush() {
    if (this.state !== "live" || this.#socket?.readyState !== WebSocket.OPEN) return;
    for (const [place, bytes] of this.#typed) {
      const end = place + bytes.length;
      if (end <= this.#sentEnd) continue;
      if (this.#sentEnd > this.#taken && end - this.#taken > UNDER_WAY_MAX) return;
      this.#socket.send(bytes.subarray(Math.max(0, this.#sentEnd - place)));
      this.#sentEnd = end;
    }
  }

  #trim(taken) {
    this.#taken = Math.max(taken, this.#taken);
    while (this.#typed.length && this.#typed[0][0] + this.#typed[0][1].length <= taken) {
      this.#typed.shift();
    }
    this.#flush();
  }

  #say(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #show(state, words = "") {
    this.state = state;
    this.words = words;
    this.changed();
  }
}

/** Say so many bytes in a unit of a size that one can picture. */
function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1_000_000) return `${Math.round(bytes / 1000)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
