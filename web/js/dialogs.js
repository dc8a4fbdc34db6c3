// A link marked data-dialog leads to a page with a part made to stand alone. Here that part opens
// in a native <dialog>: focus stays inside and comes back, Escape and Cancel always work, and a
// refusal by the server is shown in it. Without JavaScript the link is simply followed.

import { say } from "./toasts.js";

export function start() {
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-dialog]");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
    event.preventDefault();
    await open(link.href, link);
  });
  document.addEventListener("submit", askForSelected);
}

/** Open the part of another page, or go there if it has none. */
export async function open(address, opener) {
  const part = await fetchPart(address);
  if (part) show(part, opener);
  else location.assign(address);
}

/** Send the selected rows' form and open what it asks. */
async function askForSelected(event) {
  const form = event.target.closest("form[data-bulk]");
  if (!form || !event.submitter?.matches("[data-dialog]")) return;
  event.preventDefault();
  const address = new URL(event.submitter.formAction);
  address.search = new URLSearchParams(new FormData(form)).toString();
  address.searchParams.set("back", location.pathname + location.search);
  const part = await fetchPart(address.href);
  if (part) show(part, event.submitter);
}

/** Return the part of the page at ``address`` that is made for a dialog, or null. */
async function fetchPart(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, { headers: { Accept: "text/html" }, ...options });
  } catch {
    say("bad", "No answer from the server. Check the connection and try again.");
    return null;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const part = page.querySelector("[data-dialog-body]");
  return part ? document.importNode(part, true) : null;
}

/** Open ``part`` as a dialog; ``opener`` gets the focus back. */
export function show(part, opener) {
  const dialog = document.createElement("dialog");
  dialog.className = "dlg";
  dialog.setAttribute("aria-labelledby", part.getAttribute("aria-labelledby") ?? "");
  adopt(dialog, part);
  document.body.append(dialog);
  dialog.addEventListener("close", () => {
    dialog.remove();
    opener?.focus();
  });
  dialog.addEventListener("click", (event) => {
    const cancel = event.target.closest("[data-cancel]");
    if (cancel || event.target === dialog) {
      event.preventDefault();
      dialog.close();
    }
  });
  dialog.addEventListener("submit", (event) => submit(event, dialog));
  dialog.showModal();
  dialog.querySelector("[autofocus], [data-cancel]")?.focus();
}

function adopt(dialog, part) {
  part.classList.remove("card", "page-dialog");
  dialog.replaceChildren(part);
}

async function submit(event, dialog) {
  event.preventDefault();
  event.stopPropagation();
  const form = event.target;
  if (form.dataset.sent) return;
  form.dataset.sent = "1";
  event.submitter?.setAttribute("aria-busy", "true");
  const body = new URLSearchParams(new FormData(form, event.submitter));
  try {
    const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" } });
    if (answer.redirected) {
      location.assign(answer.url);
      return;
    }
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const part = page.querySelector("[data-dialog-body]");
    if (part) {
      adopt(dialog, document.importNode(part, true));
      const said = dialog.querySelector("[data-focus], [role=alert]");
      said?.setAttribute("tabindex", "-1");
      said?.focus();
      if (dialog.querySelector("[data-changed]")) document.dispatchEvent(new Event("gc-changed"));
      return;
    }
    say("bad", page.querySelector("h1")?.textContent ?? "That did not work.");
  } catch {
    say("bad", "No answer from the server. It is safe to try again.");
  }
  delete form.dataset.sent;
  event.submitter?.removeAttribute("aria-busy");
}
