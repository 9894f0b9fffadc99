"use strict";
// One EventSource for the whole page: figures, chat and jobs are named events of one stream.

const $ = (id) => document.getElementById(id);
const MINUTE = 60;
const counts = { metrics: 0, chat: 0, job: 0, ready: 0, heartbeat: 0, reset: 0, reconnect: 0 };
const seen = { metrics: [0, 0], chat: [0, 0] };  // the newest id of each kind
window.demo = { counts, points: () => plots.cpu.data[0].length, last: () => plots.cpu.data[0].at(-1) };

// ---- the plots ------------------------------------------------------------------------------

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const bytes = (n) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (n >= 1000 && unit < units.length - 1) { n /= 1000; unit += 1; }
  return `${n < 10 && unit ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
};

const clock = (t) => new Date(t * 1000).toLocaleTimeString("en-GB");

function plot(id, series, { values, max } = {}) {
  const box = $(id);
  const axis = { stroke: style("--quiet"), grid: { stroke: style("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  const chart = new uPlot({
    width: box.clientWidth, height: box.clientHeight,
    legend: { show: false }, cursor: { y: false },
    scales: { y: { range: (u, low, high) => [0, max ?? Math.max(high * 1.15, 1e-3)] } },
    axes: [{ ...axis, size: 24, space: 74, values: (u, ticks) => ticks.map(clock) }, { ...axis, size: 58, values: values && ((u, ticks) => ticks.map(values)) }],
    series: [{}, ...series],
  }, [[], ...series.map(() => [])], box);
  new ResizeObserver(() => chart.setSize({ width: box.clientWidth, height: box.clientHeight })).observe(box);
  return chart;
}

const line = (label, colour, fill) => ({ label, stroke: colour, width: 1.6, fill, points: { show: false } });
const wash = (colour) => `color-mix(in srgb, ${colour} 18%, transparent)`;
const plots = {
  cpu: null,  // made with the first figures: they tell how many cores there are
  memory: plot("memory", [line("used", style("--a"), wash(style("--a")))], { values: bytes }),
  network: plot("network", [line("in", style("--a"), wash(style("--a"))), line("out", style("--b"))], { values: bytes }),
  load: plot("load", [line("load", style("--a"), wash(style("--a")))]),
};

function append(chart, t, values) {
  const data = chart.data.map((column, index) => [...column, index ? values[index - 1] : t].slice(-MINUTE));
  chart.setData(data);
}

function showFigures(figures) {
  if (!plots.cpu) {
    const cores = figures.cpu.map((_, core) => {
      const colour = `hsl(${225 + core * 137.5} 65% ${matchMedia("(prefers-color-scheme: dark)").matches ? 68 : 50}%)`;
      return line(`core ${core}`, colour, figures.cpu.length < 3 ? wash(colour) : undefined);
    });
    plots.cpu = plot("cpu", cores, { max: 100, values: (v) => `${v} %` });
  }
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
    link.textContent = job.id;
    const bar = document.createElement("progress");
    bar.max = 100;
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

$("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const { name, text } = form.elements;
  try {
    await post("chat", { name: name.value, text: text.value });
    text.value = "";
  } catch (error) {
    setStatus("lost", "not sent, try again");
  }
});
$("start").addEventListener("click", () => post("jobs").catch(() => setStatus("lost", "not started, try again")));

// ---- the stream -----------------------------------------------------------------------------

let heardAt = Date.now();
function setStatus(state, text) {
  $("status").dataset.state = state;
  $("status").lastElementChild.textContent = text;
}

function note(event) {
  heardAt = Date.now();
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

function show(kind, id, data) {
  if (!isNew(kind, id)) return;
  kind === "metrics" ? showFigures(data) : showLine(data);
}

function open(after) {
  const source = new EventSource(after ? `events?last_event_id=${encodeURIComponent(after)}` : "events");
  const on = (type, react) => source.addEventListener(type, (event) => { note(event); react?.(JSON.parse(event.data), event); });
  on("metrics", (data, event) => show("metrics", event.lastEventId, data));
  on("chat", (data, event) => show("chat", event.lastEventId, data));
  on("job", showJob);
  on("ready", () => setStatus("live", "live"));
  on("heartbeat");
  on("reset", (data) => setStatus("live", `live, after a reset (${data.reason})`));
  on("reconnect", () => setStatus("waiting", "moving to another worker"));
  source.onerror = () => setStatus("lost", "reconnecting");
  window.demo.source = source;
  // Heartbeats come every 5 s: silence much longer than that is a connection that is gone.
  setInterval(() => {
    if (Date.now() - heardAt < 20000) return;
    heardAt = Date.now();
    source.close();
    location.reload();
  }, 1000);
}

fetch("history").then((response) => response.json()).then(({ metrics, chat, after }) => {
  for (const [id, data] of metrics) show("metrics", id, data);
  for (const [id, data] of chat) show("chat", id, data);
  open(after);
}).catch(() => open(null));
