// Copies what a button carries and says so, in the button and to screen readers.

import { say } from "./toasts.js";

export function start() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    event.preventDefault();
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      say("bad", "The browser did not allow copying. Select the text and copy it by hand.");
      return;
    }
    const label = button.querySelector("[data-copied]");
    if (label) {
      const before = label.textContent;
      label.textContent = "Copied";
      setTimeout(() => (label.textContent = before), 2000);
    }
    say("ok", "Copied.");
  });
}
