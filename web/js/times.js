// Relative times ("4 min ago") drawn by the server go stale while a page is open: refresh them.
// The words are the server's own, so that nothing jumps when it draws the page again.

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;

export function start() {
  refresh();
  setInterval(() => document.hidden || refresh(), 5000);
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
}

function refresh() {
  const now = Date.now();
  for (const element of document.querySelectorAll("time[data-rel]")) {
    const words = relative((Date.parse(element.dateTime) - now) / 1000);
    if (words && element.textContent !== words) element.textContent = words;
  }
}

/** Return "4 min ago" or "in 3 h", or "" beyond a day. */
export function relative(seconds) {
  const distance = Math.floor(Math.abs(seconds));
  if (Number.isNaN(distance) || distance >= DAY) return "";
  if (distance < 1) return "now";
  let text = `${Math.floor(distance / HOUR)} h`;
  if (distance < MINUTE) text = `${distance} s`;
  else if (distance < HOUR) text = `${Math.floor(distance / MINUTE)} min`;
  return seconds < 0 ? `${text} ago` : `in ${text}`;
}
