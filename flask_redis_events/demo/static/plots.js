// The plots of this machine's figures, of the last minute.

const MINUTE = 60;
const GAP = 3;  // seconds; figures come every second

const $ = (id) => document.getElementById(id);
const clock = (t) => new Date(t * 1000).toLocaleTimeString("en-GB");
export const bytes = (n) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) { n /= 1000; unit += 1; }
  return `${n < 10 && unit ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
};
const mean = (numbers) => numbers.reduce((a, b) => a + b, 0) / numbers.length;

// Colours are functions, so that a change of the colour scheme is a redraw.
const colour = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = matchMedia("(prefers-color-scheme: dark)");
const area = (label, name) => ({ ...line(label, name, 1.8), fill: () => `color-mix(in srgb, ${colour(name)()} 16%, transparent)` });
function line(label, name, width = 1.6) {
  return { label, stroke: colour(name), width, points: { show: false } };
}

function plot(id, series, { values, max } = {}) {
  const box = $(id);
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  const chart = new uPlot({
    width: box.clientWidth, height: box.clientHeight,
    legend: { show: false }, cursor: { y: false }, padding: [8, 20, 0, 0],
    // At least ten seconds wide and one unit high: the first figure has no range of its own.
    scales: { x: { range: (u, low, high) => [Math.min(low, high - 10), high] }, y: { range: (u, low, high) => [0, max ?? Math.max(high * 1.15, 1)] } },
    axes: [{ ...axis, size: 24, space: 74, values: (u, ticks) => ticks.map(clock) }, { ...axis, size: 52, space: 34, values: values && ((u, ticks) => ticks.map(values)) }],
    series: [{}, ...series],
  }, [[], ...series.map(() => [])], box);
  new ResizeObserver(() => chart.setSize({ width: box.clientWidth, height: box.clientHeight })).observe(box);
  dark.addEventListener("change", () => chart.redraw());
  return chart;
}

// The cores are lines, and their mean is the area, because areas that overlap cannot be told apart.
const processor = (cores) => plot("cpu", [area("mean", "--a"), ...cores.map((_, core) => line(`core ${core}`, "--faint", 1))], { max: 100, values: (v) => `${v} %` });

const charts = {
  cpu: undefined,  // made with the first figures: they tell how many cores there are
  memory: plot("memory", [area("used", "--a")], { values: bytes }),
  network: plot("network", [area("in", "--a"), line("out", "--b")], { values: bytes }),
};

function append(chart, t, values) {
  const last = chart.data[0].at(-1);
  const gap = t - last > GAP;  // drawn as one, and not as a straight line
  chart.setData(chart.data.map((column, index) => [...column, ...(gap ? [index ? null : (last + t) / 2] : []), index ? values[index - 1] : t].slice(-MINUTE)));
}

/** Show the figures of one second; return them in words. */
export function showFigures({ t, cpu, memory, network }) {
  charts.cpu ??= processor(cpu);
  append(charts.cpu, t, [mean(cpu), ...cpu]);
  append(charts.memory, t, [memory.used]);
  append(charts.network, t, [network.in, network.out]);
  $("cpu-now").textContent = `${mean(cpu).toFixed(0)} %`;
  $("memory-now").textContent = `${bytes(memory.used)} of ${bytes(memory.total)}`;
  $("network-now").textContent = `↓ ${bytes(network.in)}/s  ↑ ${bytes(network.out)}/s`;
}

/** Begin anew. */
export function clear() {
  for (const chart of Object.values(charts)) chart?.setData(chart.data.map(() => []));
}

export const points = () => charts.cpu?.data[0].length ?? 0;
