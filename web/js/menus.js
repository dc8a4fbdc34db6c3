// Menus are <details>: they open without us. Here they close on Escape, on a click elsewhere and
// when another opens, and arrow keys move in them. The sidebar remembers which groups are open.

const GROUPS = "gc-groups";

export function start() {
  document.addEventListener(
    "toggle",
    (event) => {
      const menu = event.target;
      if (menu.matches?.("[data-group]")) remember();
      if (!menu.matches?.("[data-pop]") || !menu.open) return;
      closeAll(menu);
    },
    true,
  );
  document.addEventListener("click", (event) => {
    const inside = event.target.closest("[data-pop]");
    closeAll(inside);
    if (inside && !("keepOpen" in inside.dataset) && event.target.closest(".menu a, .menu button")) inside.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const menu = event.target.closest?.("[data-pop][open]");
    if (!menu) return;
    if (event.key === "Escape") {
      menu.open = false;
      menu.querySelector("summary").focus();
      event.stopPropagation();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const items = [...menu.querySelectorAll(".menu a, .menu button")];
      const step = event.key === "ArrowDown" ? 1 : -1;
      const next = items.indexOf(document.activeElement) + step;
      items[(next + items.length) % items.length]?.focus();
    }
  });
  restore();
  drawer();
}

function closeAll(except) {
  for (const other of document.querySelectorAll("[data-pop][open]")) {
    if (other !== except && !other.contains(except)) other.open = false;
  }
}

function remember() {
  const open = [...document.querySelectorAll("[data-group][open]")].map((one) => one.dataset.group);
  try {
    sessionStorage.setItem(GROUPS, JSON.stringify(open));
  } catch {
    // a browser that keeps nothing still works; its groups open as the server drew them
  }
}

function restore() {
  let open;
  try {
    open = JSON.parse(sessionStorage.getItem(GROUPS) ?? "null");
  } catch {
    return;
  }
  if (!Array.isArray(open)) return;
  for (const group of document.querySelectorAll("[data-group]")) {
    const here = group.querySelector("[aria-current]");
    group.open = Boolean(here) || open.includes(group.dataset.group);
  }
}

function drawer() {
  addEventListener("hashchange", () => {
    if (location.hash === "#nav") document.querySelector("#nav a")?.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && location.hash === "#nav") location.hash = "#main";
  });
}
