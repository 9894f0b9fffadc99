// How the stream is, in words: the pill, the truth about the numbers, the last events.
import { make } from "./parts.js";
import { bytes } from "./plots.js";

const ROWS = 5, CELL = 15;  // of the ribbon; pixels
const LINES = 10;

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
    silent: answers ? `${ago} s: the worker answers, nothing comes from Redis` : `no event for ${ago} s`,
    away: wait > now ? `next try in ${Math.ceil((wait - now) / 1000)} s` : "trying",
  }[state] ?? "");
  const number = tabs.tabs === 1 ? "1 tab" : `${tabs.tabs} tabs`;
  set("tabs", tabs.connections ? `${number}, ${tabs.connections === 1 ? "one connection" : `${tabs.connections} connections`}` : number);
}

export function truth(truth, connection, now) {
  const { absence, absences, twice, disordered, lost } = truth, waiting = truth.expected(now);
  const sum = (name) => absences.reduce((total, one) => total + truth.of(one)[name], 0);
  const away = absences.reduce((total, one) => total + one.seconds(now), 0);
  const about = (number) => (absence ? `≈ ${count(number + waiting)}` : count(number));
  const tiles = {
    sent: about(truth.sent), received: count(truth.received), missing: about(truth.holes.size),
    missed: count(sum("missed")), recovered: count(sum("got")), away: `${away.toFixed(1)} s`,
    twice: count(twice), disordered: count(disordered), worker: connection ? String(connection.pid) : "–",
  };
  for (const [id, text] of Object.entries(tiles)) set(id, text);
  $("missing").dataset.wrong = truth.holes.size + waiting > 0;
  $("twice").dataset.wrong = twice > 0;
  $("disordered").dataset.wrong = disordered > 0;
  const wrong = lost.size + twice + disordered > 0;
  const all = wrong
    ? `${count(lost.size)} are lost, as the server has said; ${count(twice)} came twice, ${count(disordered)} out of order.`
    : `All ${count(truth.sent)} are here, in order, each once.`;
  const latest = absences.at(-1), last = latest && { kind: latest.kind, ...truth.of(latest) };
  const [verdict, reason] =
    !truth.sent ? ["Waiting for the first number.", ""]
    : absence?.kind === "silent" ? ["Nothing arrives.", `About ${count(waiting)} wait meanwhile.`]
    : absence ? ["You are away.", `About ${count(waiting)} were sent meanwhile, and are kept for you.`]
    : truth.holes.size ? [`${count(truth.holes.size)} are not here yet.`, ""]
    : last?.kind === "silent" ? [`${count(last.missed)} waited, ${count(last.got)} arrived.`, all]
    : last ? [`You missed ${count(last.missed)}, got ${count(last.got)}.`, all]
    : [wrong ? "Not all is right." : "Nothing is missing.", all];
  set("verdict", verdict);
  set("reason", reason);
  ribbon(truth, now);
}

/** A cell for each of the last numbers, and for those that are probably made while nothing arrives. */
function ribbon(truth, now) {
  const box = $("ribbon"), totals = {};
  const cells = ROWS * Math.floor((box.clientWidth + 3) / CELL);
  while (box.childElementCount < cells) box.append(make("i"));
  while (box.childElementCount > cells) box.lastElementChild.remove();
  const from = Math.max(truth.first, truth.top + truth.expected(now) + 1 - cells);
  [...box.children].forEach((cell, index) => {
    const state = truth.stateOf(from + index, now);
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
