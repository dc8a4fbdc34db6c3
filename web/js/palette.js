// ⌘K: go to any page of the menu by typing part of its name. The list is the sidebar itself, so
// that it never offers what this person may not see.

export function start() {
  const opener = document.querySelector("[data-palette]");
  if (!opener) return;
  opener.hidden = false;
  opener.addEventListener("click", () => open(opener));
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.metaKey || event.ctrlKey)) return;
    if (event.target.closest?.(".xterm") || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    open(opener);
  });
}

function open(opener) {
  const dialog = document.createElement("dialog");
  dialog.className = "dlg";
  dialog.setAttribute("aria-label", "Go to a page");
  const box = document.createElement("div");
  box.className = "palette-box";
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "Go to a page";
  input.setAttribute("aria-label", "Go to a page");
  input.setAttribute("role", "combobox");
  input.setAttribute("aria-expanded", "true");
  input.setAttribute("aria-controls", "palette-list");
  box.append(input);
  const list = document.createElement("ul");
  list.className = "palette-list";
  list.id = "palette-list";
  list.setAttribute("role", "listbox");
  dialog.append(box, list);
  document.body.append(dialog);

  const pages = [...document.querySelectorAll(".side a.nav-a")].map((link) => ({
    link,
    title: link.title,
    group: link.closest("[data-group]")?.dataset.group ?? "",
  }));
  let at = 0;
  const draw = () => {
    const asked = input.value.trim().toLowerCase();
    const found = pages.filter((one) => `${one.group} ${one.title}`.toLowerCase().includes(asked));
    at = Math.min(at, Math.max(found.length - 1, 0));
    list.replaceChildren(...found.map((one, index) => row(one, index, index === at)));
    input.setAttribute("aria-activedescendant", found.length ? `palette-${at}` : "");
    list.children[at]?.scrollIntoView({ block: "nearest" });
  };
  input.addEventListener("input", () => {
    at = 0;
    draw();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      at = Math.max(0, Math.min(at + (event.key === "ArrowDown" ? 1 : -1), list.children.length - 1));
      draw();
    } else if (event.key === "Enter") {
      event.preventDefault();
      list.children[at]?.querySelector("a").click();
    }
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    opener.focus();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  draw();
  dialog.showModal();
  input.focus();
}

function row(page, index, selected) {
  const item = document.createElement("li");
  item.id = `palette-${index}`;
  item.setAttribute("role", "option");
  item.setAttribute("aria-selected", String(selected));
  const link = document.createElement("a");
  link.href = page.link.href;
  link.tabIndex = -1;
  const picture = page.link.querySelector("svg");
  if (picture) link.append(picture.cloneNode(true));
  link.append(page.title);
  const group = document.createElement("small");
  group.textContent = page.group;
  link.append(group);
  item.append(link);
  return item;
}
