// How the stream is, in words: the pill, the truth about the numbers, the last events.
import { make } from "./parts.js";
import { bytes } from "./plots.js";

const CELLS = 160;
const EVERY = 250;  // milliseconds from one number to the next
const LINES = 12;

const $ = (id) => document.getElementById(id);
const count = (number) => number.toLocaleString("en");
const STATES = {
  connecting: "connecting", live: "live", silent: "open, but silent", away: "away", offline: "offline",
  refused: "refused", ended: "ended",
};
const SAYS = {
  chat: ({ name, text }) => `${name}: ${text}`,
  heartbeat: () => "the worker is there, and has nothing to send",
  job: ({ name, step, percent }) => `${name}: ${percent === 100 ? "done" : `${step}, ${percent} %`}`,
  metrics: ({ cpu, memory }) => `processor ${cpu.map((core) => Math.round(core)).join(", ")} %, memory ${bytes(memory.used)}`,
  ready: () => "from now on every event arrives",
  reconnect: ({ reason }) => `the worker asks the page to come back: ${reason}`,
  reset: ({ reason }) => `events are missing for good: ${reason}`,
  worker: ({ pid }) => `worker ${pid} has the stream`,
};
let events = 0;

const set = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };

export function status({ state, now, since, wait, connection, answers, tabs }) {
  const ago = Math.round((now - since) / 1000);
  $("status").dataset.state = state;
  set("state", STATES[state]);
  set("who", {
    live: connection ? `worker ${connection.pid}` : "",
    silent: answers ? `${ago} s: the worker answers, Redis does not` : `no event for ${ago} s`,
    away: wait > now ? `next try in ${Math.ceil((wait - now) / 1000)} s` : "trying",
  }[state] ?? "");
  const number = tabs.tabs === 1 ? "1 tab" : `${tabs.tabs} tabs`;
  set("tabs", state === "live" && tabs.connections ? `${number}, ${tabs.connections === 1 ? "one connection" : `${tabs.connections} connections`}` : number);
}

export function truth(truth, absence, connection, now) {
  const over = truth.absences.filter(({ to }) => to !== undefined).map((one) => truth.of(one));
  const sum = (name) => over.reduce((total, one) => total + one[name], 0);
  const away = truth.absences.reduce((total, one) => total + one.seconds(now), 0);
  const tiles = {
    sent: count(truth.sent), received: count(truth.received), missing: count(truth.missing),
    missed: count(sum("missed")), recovered: count(sum("got")), away: `${away.toFixed(1)} s`,
    twice: count(truth.twice), disordered: count(truth.disordered), worker: connection ? String(connection.pid) : "–",
  };
  for (const [id, text] of Object.entries(tiles)) set(id, text);
  $("missing").dataset.wrong = truth.missing > 0;
  for (const id of ["twice", "disordered"]) $(id).dataset.wrong = truth[id] > 0;
  set("verdict", verdict(truth, absence, over.at(-1)));
  ribbon(truth, absence, now);
}

function verdict(truth, absence, last) {
  if (!truth.sent) return "Waiting for the first number.";
  const { missing, twice, disordered } = truth, lost = truth.lost.size;
  if (absence) return absence.kind === "silent" ? "Nothing arrives. What is sent now, waits." : "You are away. What is sent now, is kept for you.";
  if (missing) return `${count(missing)} of ${count(truth.sent)} are not here yet.`;
  if (lost || twice || disordered) return `${count(lost)} lost, as the server has said; ${count(twice)} twice, ${count(disordered)} out of order.`;
  const all = `All ${count(truth.sent)} are here, in order, each once.`;
  return last?.missed ? `You missed ${count(last.missed)}, got ${count(last.got)}. ${all}` : all;
}

/** A cell for each of the last numbers, and for those that are probably sent while nothing arrives. */
function ribbon(truth, absence, now) {
  const box = $("ribbon");
  if (!box.childElementCount) box.append(...Array.from({ length: CELLS }, () => make("i")));
  const expected = absence ? Math.floor((now - absence.since) / EVERY) : 0;
  const end = Math.max(truth.newest, truth.top + expected), totals = {};
  [...box.children].forEach((cell, index) => {
    const n = end - CELLS + 1 + index;
    const state = n > truth.newest && absence && truth.run !== undefined ? "missing" : truth.stateOf(n);
    if (cell.className !== state) cell.className = state;
    if (state) totals[state] = (totals[state] ?? 0) + 1;
  });
  const words = Object.entries(totals).map(([state, number]) => `${number} ${state}`).join(", ");
  box.ariaLabel = `The last numbers: ${words || "none yet"}`;
}

/** One more event, which may be shown in words. */
export function countEvent() {
  events += 1;
  set("count", `${count(events)} events`);
}

export function note(name, data) {
  countEvent();
  const item = make("li");
  item.append(make("time", new Date().toLocaleTimeString("en-GB")), make("b", name), SAYS[name](data));
  $("log").prepend(item);
  while ($("log").childElementCount > LINES) $("log").lastElementChild.remove();
}
