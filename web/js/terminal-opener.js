// The terminal is heavy and only some pages have one: its file is fetched when it is opened.

export function start() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-terminal]");
    if (!button) return;
    event.preventDefault();
    const { open } = await import(button.dataset.src);
    open(button);
  });
}
