// Charts: elements with data-chart carry times and lines as JSON; uPlot draws them. Steps for
// money, straight lines for measurements, a gap where nothing is known, the last value at the end
// of each line. Drawn again when the theme, the width or the data changes.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

const HEIGHT = 190;
const SMALL = 120;
const drawn = new Map();

function token(name) {
  const probe = document.createElement("span");
  probe.className = `ink-${name}`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

function faded(colour, share) {
  return colour.replace(/rgba?\(([^)]+)\)/, (_, parts) => {
    const [red, green, blue] = parts.split(/[ ,/]+/);
    return `rgba(${red}, ${green}, ${blue}, ${share})`;
  });
}

function draw(box) {
  const data = JSON.parse(box.dataset.chart);
  const small = Boolean(box.closest(".small"));
  const words = (value) => value == null ? "—" : `${data.prefix}${value.toLocaleString("en", {
    minimumFractionDigits: data.prefix ? 2 : 0, maximumFractionDigits: data.prefix ? 2 : 0,
  })}${data.suffix}`;
  const short = (value) => `${data.prefix}${value.toLocaleString("en")}${data.suffix}`;
  const ink = token("weak");
  const line = token("line");
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px Inter Variable, sans-serif" };
  const highest = Math.max(...data.lines.flatMap((one) => one.values.filter((value) => value != null)), 0);
  const top = data.ceiling ?? (highest ? highest * 1.12 : 1);
  const last = data.times.length - 1;
  drawn.get(box)?.destroy();
  box.replaceChildren();
  const plot = new uPlot(
    {
      width: Math.max(box.clientWidth, 160),
      height: small ? SMALL : HEIGHT,
      cursor: { points: { size: 6 }, drag: { x: false, y: false } },
      legend: { live: true, show: data.lines.length > 1 },
      hooks: { ready: [(plot) => plot.setLegend({ idx: last }, false)] }, // the newest, until one points
      scales: { x: { time: true }, y: { range: () => [0, top] } },
      axes: [
        { ...axis, grid: { show: false }, size: 26, values: clock },
        { ...axis, size: 52, values: (_, ticks) => ticks.map(short), space: 34 },
      ],
      series: [
        { label: "Time", value: (_, at) => (at == null ? "—" : new Date(at * 1000).toLocaleString()) },
        ...data.lines.map((one, index) => {
          const colour = token(index + 1);
          return {
            label: one.label,
            stroke: colour,
            width: 1.75,
            fill: data.lines.length === 1 || index === 0 ? faded(colour, 0.1) : undefined,
            spanGaps: false,
            points: { show: false },
            paths: data.steps ? uPlot.paths.stepped({ align: 1 }) : undefined,
            value: (_, value) => words(value),
          };
        }),
      ],
    },
    [data.times, ...data.lines.map((one) => one.values)],
    box,
  );
  const rest = () => plot.setLegend({ idx: last }, false);
  plot.over.addEventListener("mouseleave", () => requestAnimationFrame(rest));
  drawn.set(box, plot);
}

function clock(_, ticks) {
  const days = ticks.length > 1 && ticks.at(-1) - ticks[0] > 2 * 86400;
  const second = ticks.length > 1 && ticks[1] - ticks[0] < 60 ? "2-digit" : undefined;
  return ticks.map((at) => {
    const when = new Date(at * 1000);
    return days
      ? when.toLocaleDateString("en", { day: "numeric", month: "short" })
      : when.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second });
  });
}

function drawAll() {
  for (const box of drawn.keys()) if (!box.isConnected) drawn.delete(box);
  for (const box of document.querySelectorAll("[data-chart]")) {
    if (drawn.get(box)?.of === box.dataset.chart && drawn.get(box).root.isConnected) continue;
    draw(box);
    drawn.get(box).of = box.dataset.chart;
  }
}

function drawAnew() {
  for (const plot of drawn.values()) plot.of = null;
  drawAll();
}

let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;
  width = innerWidth;
  drawAnew();
});
new MutationObserver(drawAnew).observe(document.documentElement, { attributeFilter: ["data-bs-theme"] });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAnew);
document.addEventListener("gc-redrawn", drawAll); // a live update put new data in place
drawAll();
