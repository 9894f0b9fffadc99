"use strict";
// One EventSource for the whole page: figures, chat and jobs are named events of one stream.

const $ = (id) => document.getElementById(id);
const MINUTE = 60;
const GAP = 3;  // seconds; figures come every second
const SILENCE = 20;  // seconds; heartbeats come every 5
const AGAIN = 3;  // seconds
const counts = { metrics: 0, chat: 0, job: 0, worker: 0, ready: 0, heartbeat: 0, reset: 0, reconnect: 0 };
let seen;  // the newest id of each kind
// For tests.
window.demo = { counts, opened: 0, silentFor: (seconds) => { heardAt -= seconds * 1000; }, points: () => plots.cpu?.data[0].length ?? 0, last: () => plots.cpu?.data[0].at(-1) };

// ---- the plots ------------------------------------------------------------------------------

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const bytes = (n) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) { n /= 1000; unit += 1; }
  return `${n < 10 && unit ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
};

const clock = (t) => new Date(t * 1000).toLocaleTimeString("en-GB");

// Colours are functions, so that a change of the colour scheme is a redraw.
const dark = matchMedia("(prefers-color-scheme: dark)");
const named = (name) => () => style(name);
const ofCore = (core) => () => `hsl(${225 + core * 137.5} 65% ${dark.matches ? 68 : 50}%)`;
const line = (label, colour, { filled = true } = {}) => ({
  label, stroke: colour, width: 1.6, points: { show: false },
  fill: filled ? () => `color-mix(in srgb, ${colour()} 18%, transparent)` : undefined,
});

function plot(id, series, { values, max } = {}) {
  const box = $(id);
  const axis = { stroke: named("--quiet"), grid: { stroke: named("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  const chart = new uPlot({
    width: box.clientWidth, height: box.clientHeight,
    legend: { show: false }, cursor: { y: false },
    // At least ten seconds wide and one unit high: the first figure has no range of its own.
    scales: { x: { range: (u, low, high) => [Math.min(low, high - 10), high] }, y: { range: (u, low, high) => [0, max ?? Math.max(high * 1.15, 1)] } },
    axes: [{ ...axis, size: 24, space: 74, values: (u, ticks) => ticks.map(clock) }, { ...axis, size: 58, values: values && ((u, ticks) => ticks.map(values)) }],
    series: [{}, ...series],
  }, [[], ...series.map(() => [])], box);
  new ResizeObserver(() => chart.setSize({ width: box.clientWidth, height: box.clientHeight })).observe(box);
  if (series.length > 1) addLegend(box, series);
  return chart;
}

function addLegend(box, series) {
  const legend = box.nextElementSibling;
  for (const { label, stroke } of series) {
    const entry = document.createElement("span");
    const mark = document.createElement("i");
    mark.style.background = stroke();
    dark.addEventListener("change", () => { mark.style.background = stroke(); });
    entry.append(mark, label);
    legend.append(entry);
  }
}

const plots = {
  cpu: null,  // made with the first figures: they tell how many cores there are
  memory: plot("memory", [line("used", named("--a"))], { values: bytes }),
  network: plot("network", [line("in", named("--a")), line("out", named("--b"), { filled: false })], { values: bytes }),
  load: plot("load", [line("load", named("--a"))]),
};
const charts = () => Object.values(plots).filter(Boolean);
dark.addEventListener("change", () => charts().forEach((chart) => chart.redraw()));

function append(chart, t, values) {
  const last = chart.data[0].at(-1);
  const gap = t - last > GAP;  // drawn as one, and not as a straight line
  const data = chart.data.map((column, index) => [...column, ...(gap ? [index ? null : (last + t) / 2] : []), index ? values[index - 1] : t].slice(-MINUTE));
  chart.setData(data);
}

function showFigures(figures) {
  if (!plots.cpu) {
    const cores = figures.cpu.map((_, core) => line(`core ${core}`, ofCore(core), { filled: figures.cpu.length < 3 }));
    plots.cpu = plot("cpu", cores, { max: 100, values: (v) => `${v} %` });
  }
  $("start").disabled = false;  // who sends the figures does the jobs
  append(plots.cpu, figures.t, figures.cpu);
  append(plots.memory, figures.t, [figures.memory.used]);
  append(plots.network, figures.t, [figures.network.in, figures.network.out]);
  append(plots.load, figures.t, [figures.load]);
  const mean = figures.cpu.reduce((a, b) => a + b, 0) / figures.cpu.length;
  $("cpu-now").textContent = `${mean.toFixed(0)} %`;
  $("memory-now").textContent = `${bytes(figures.memory.used)} of ${bytes(figures.memory.total)}`;
  $("network-now").textContent = `↓ ${bytes(figures.network.in)}/s  ↑ ${bytes(figures.network.out)}/s`;
  $("load-now").textContent = figures.load.toFixed(2);
}

// ---- chat and jobs --------------------------------------------------------------------------

function showLine(message) {
  const item = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = message.name;
  item.append(name, ` ${message.text}`);
  $("lines").append(item);
  $("lines").scrollTop = $("lines").scrollHeight;
}

function showJob(job) {
  let item = document.querySelector(`[data-job="${CSS.escape(job.id)}"]`);
  if (!item) {
    item = document.createElement("li");
    item.dataset.job = job.id;
    const row = document.createElement("div");
    const link = document.createElement("a");
    link.href = `jobs/${encodeURIComponent(job.id)}`;
    link.target = "_blank";
    link.textContent = job.id.slice(0, 8);
    const bar = document.createElement("progress");
    bar.max = 100;
    bar.ariaLabel = `Job ${job.id.slice(0, 8)}`;
    row.append(link, document.createElement("span"));
    item.append(row, bar);
    $("running").prepend(item);
  }
  item.querySelector("span").textContent = job.status === "completed" ? "done" : `${job.step} · ${job.percent} %`;
  item.querySelector("progress").value = job.percent;
  item.dataset.status = job.status;
}

async function post(url, body) {
  const response = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response;
}

// One at a time; what was refused is said beside the button that was pressed.
async function attempt(button, send) {
  const trouble = button.closest(".card").querySelector(".trouble");
  button.disabled = true;
  try {
    await send();
    trouble.textContent = "";
  } catch (error) {
    trouble.textContent = "No answer: it may arrive yet, or try again.";
  }
  button.disabled = false;
}

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const { name, text } = event.target.elements;
  attempt(event.submitter, async () => {
    await post("chat", { name: name.value, text: text.value });
    text.value = "";
  });
});
$("start").addEventListener("click", (event) => attempt(event.target, () => post("jobs")));

// ---- the stream -----------------------------------------------------------------------------

const show = { metrics: showFigures, chat: showLine, job: showJob };
let source = null, last = null, heard = null;
let heardAt = Date.now();

function setStatus(state, text) {
  $("status").dataset.state = state;
  $("state").textContent = text;
}

function note(event) {
  heardAt = Date.now();
  heard = event.type;
  last = event.lastEventId || last;
  counts[event.type] += 1;
  const item = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = event.type;
  item.append(name, ` ${event.data}`);
  $("log").prepend(item);
  while ($("log").childElementCount > 30) $("log").lastElementChild.remove();
  const all = Object.values(counts).reduce((a, b) => a + b, 0);
  $("count").textContent = `${all} events`;
}

// What the history brought already is not shown twice.
function isNew(kind, id) {
  const [ms, seq] = id.split("-").map(Number);
  const [lastMs, lastSeq] = seen[kind];
  if (ms < lastMs || (ms === lastMs && seq <= lastSeq)) return false;
  seen[kind] = [ms, seq];
  return true;
}

function maybeShow(kind, id, data) {
  if (isNew(kind, id)) show[kind](data);
}

function open(after) {
  source?.close();
  heardAt = Date.now();
  last = after;
  source = new EventSource(after ? `events?last_event_id=${encodeURIComponent(after)}` : "events");
  // Safari revives a closed source when the page comes back from the back/forward cache.
  const listen = (type, react) => source.addEventListener(type, (event) => event.target === source ? react(event) : event.target.close());
  const on = (type, react) => listen(type, (event) => { note(event); react?.(JSON.parse(event.data), event.lastEventId); });
  for (const kind of Object.keys(show)) on(kind, (data, id) => maybeShow(kind, id, data));
  on("ready", () => setStatus("live", "live"));
  on("worker", ({ pid }) => { $("worker").textContent = `worker ${pid}`; });
  on("heartbeat");
  on("reset", start);  // messages are missing: the page loads its state anew
  on("reconnect", () => setStatus("waiting", "moving to another worker"));
  listen("error", () => setStatus("lost", "reconnecting"));
  window.demo.source = source;
  window.demo.opened += 1;
}

// EventSource comes back by itself, but for two cases: an answer other than 200 closes it, and a
// connection that died without an end it cannot see.
setInterval(() => {
  const silent = Math.round((Date.now() - heardAt) / 1000);
  $("heard").textContent = heard ? `${heard} ${silent} s ago` : "";
  if (source && silent >= (source.readyState === EventSource.CLOSED ? AGAIN : SILENCE)) open(last);
}, 1000);

// A page in the back/forward cache would keep its stream open, and nobody would read it.
addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", (event) => { if (event.persisted) start(); });

async function start() {
  source?.close();
  source = null;
  let state;
  try {
    const response = await fetch("history");
    if (!response.ok) throw new Error(`history: ${response.status}`);
    state = await response.json();
  } catch (error) {
    setStatus("lost", "reconnecting");
    setTimeout(start, AGAIN * 1000);
    return;
  }
  seen = { metrics: [0, 0], chat: [0, 0], job: [0, 0] };
  for (const chart of charts()) chart.setData(chart.data.map(() => []));
  $("lines").replaceChildren();
  $("running").replaceChildren();
  for (const kind of Object.keys(show)) for (const [id, data] of state[kind]) maybeShow(kind, id, data);
  open(state.after);
}

start();
