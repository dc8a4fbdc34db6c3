// Forms: focus what is wrong, show that something is under way, keep what was typed, and ask
// for a new quote. Enter submits by itself; ⌘/Ctrl+Enter does in text areas.

import htmx from "htmx.org";

const WAIT = 250;

export function start() {
  document.querySelector("[data-focus]")?.focus();
  startSteps();

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.matches("[data-theme-form], [data-density-form]") || form.method !== "post") return;
    if (form.dataset.sent) {
      event.preventDefault(); // the first press is on its way, with the same Idempotency-Key
      return;
    }
    form.dataset.sent = "1";
    dirty.delete(form);
    event.submitter?.setAttribute("aria-busy", "true");
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
    for (const button of document.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.metaKey || event.ctrlKey)) return;
    event.target.closest?.("textarea")?.form?.requestSubmit();
  });

  document.addEventListener("click", (event) => {
    const preset = event.target.closest("[data-fill]");
    if (!preset) return;
    const field = document.getElementById(preset.dataset.for);
    field.value = preset.dataset.fill;
    field.focus();
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });

  startRequote();
  startGuard();
}

/** The launch form asks for a new quote whenever something in it changes. */
function startRequote() {
  let timer;
  document.addEventListener("change", (event) => {
    const form = event.target.form;
    if (!form?.matches("[data-requote]")) return;
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const body = new URLSearchParams(new FormData(form));
      body.set("go", "stay");
      await htmx.ajax("POST", form.getAttribute("action"), {
        values: Object.fromEntries(groups(body)),
        target: "#quote",
        select: "#quote",
        selectOOB: document.getElementById("where") ? "#where" : "",
        swap: "outerHTML",
      });
    }, WAIT);
  });
}

function groups(params) {
  const all = new Map();
  for (const [name, value] of params) all.set(name, [...(all.get(name) ?? []), value]);
  return [...all].map(([name, values]) => [name, values.length > 1 ? values : values[0]]);
}

const dirty = new Set();

/** Leaving a form with something typed in it asks first. */
function startGuard() {
  document.addEventListener("input", (event) => {
    const form = event.target.closest?.("form[data-guard]");
    if (form) dirty.add(form);
  });
  addEventListener("beforeunload", (event) => {
    if ([...dirty].some((form) => form.isConnected)) event.preventDefault();
  });
}

/** Another step of a wizard is a link; what is on this one goes along, so that nothing is lost. */
function startSteps() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href*='step=']");
    const form = document.querySelector("form[data-requote]");
    if (!link || !form || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    const go = document.createElement("input");
    Object.assign(go, { type: "hidden", name: "go", value: new URL(link.href).searchParams.get("step") });
    form.append(go);
    form.requestSubmit();
  });
}
