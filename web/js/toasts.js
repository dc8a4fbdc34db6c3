// The result of what I just did: 6 s, paused under the pointer, three at most. Errors stay.

const LIFE = 6000;

/** Show ``text`` in a tone of the six. */
export function say(tone, text) {
  const place = document.getElementById("toasts");
  if (!place) return;
  while (place.children.length >= 3) place.firstElementChild.remove();
  const toast = document.createElement("div");
  toast.className = "toast-x";
  toast.dataset.tone = tone;
  const words = document.createElement("span");
  words.className = "grow";
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "btn btn-ghost btn-sm2";
  close.textContent = "Close";
  close.addEventListener("click", () => toast.remove());
  toast.append(words, close);
  place.append(toast);
  if (tone === "bad") return;
  let timer = setTimeout(() => toast.remove(), LIFE);
  toast.addEventListener("pointerenter", () => clearTimeout(timer));
  toast.addEventListener("pointerleave", () => (timer = setTimeout(() => toast.remove(), LIFE)));
}
