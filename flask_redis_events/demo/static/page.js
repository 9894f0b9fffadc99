// The page: one stream for all tabs, the faults, and the truth about what came of them.
import { subscribe } from "flask-redis-events";
import { Truth } from "./truth.js";
import { meetTabs } from "./tabs.js";
import { Story } from "./story.js";
import * as show from "./show.js";
import * as plots from "./plots.js";
import * as parts from "./parts.js";

const SILENT = 2_000;  // milliseconds; numbers come four times a second
const truth = new Truth();
const story = new Story(truth);
let stop, state = "connecting", wait = 0, connection;
let numberAt = Date.now(), heartbeatAt = 0;
let seen = {};  // the newest id of each kind

const tabs = meetTabs(
  () => {
    // A tab that joins a connection has not seen it begin.
    if (state === "live" && !connection) setConnection(tabs.shared());
  },
  (label) => story.press(`${label}, in another tab`, connection?.pid),
);
window.demo = { truth, tabs, points: plots.points, position: () => stop.position };  // for tests

// ---- the stream -----------------------------------------------------------------------------

function open(since) {
  stop = subscribe("events", {
    load, state: setState, number: takeNumber,
    metrics: maybe("metrics", (figures) => {
      plots.showFigures(figures);
      document.getElementById("start").disabled = false;  // who sends the figures does the jobs
    }),
    chat: maybe("chat", parts.showLine),
    job: maybe("job", parts.showJob),
    worker(worker) {
      setConnection(worker);
      story.meet(worker.pid);
      show.note("worker", worker);
    },
    ready: (data) => show.note("ready", data),
    heartbeat(data) {
      heartbeatAt = Date.now();
      show.note("heartbeat", data);
    },
    reset(data) {
      truth.reset();
      show.note("reset", data);
    },
    reconnect: (data) => show.note("reconnect", data),
  }, { identity: "everybody", since });
}

function takeNumber(number) {
  numberAt = Date.now();
  truth.take(number, numberAt);
  if (number.flood) story.flood(number.flood, number.of, numberAt);
  show.countEvent();
}

function setConnection(now) {
  connection = now;
  tabs.tell(now);
}

function setState(name, detail) {
  state = name;
  wait = Date.now() + (detail?.wait ?? 0);
  if (name === "away") {
    leave("away", "The connection was lost", Date.now());
    setConnection(undefined);
  } else if (name === "live") {
    // Numbers have as much time to come as at any other moment.
    numberAt = Date.now();
    setConnection(connection ?? tabs.shared());
  }
  look();
}

/** Show what the history has; the stream brings some of it once more. */
async function load() {
  const response = await fetch("state");
  if (!response.ok) throw new Error(`state: ${response.status}`);
  const kept = await response.json();
  plots.clear();
  parts.clear();
  seen = {};
  for (const [kind, events] of Object.entries(kept)) for (const [id, data] of events) handlers[kind](data, { id });
}

const handlers = {};
function maybe(kind, react) {
  handlers[kind] = (data, { id }) => {
    const [ms, count] = id.split("-").map(Number), [lastMs, lastCount] = seen[kind] ?? [0, 0];
    if (ms < lastMs || (ms === lastMs && count <= lastCount)) return;
    seen[kind] = [ms, count];
    react(data);
  };
  return (data, event) => {
    handlers[kind](data, event);
    show.note(kind, data);
  };
}

// ---- absences -------------------------------------------------------------------------------

function leave(kind, label, since) {
  const isNew = !truth.absence, absence = truth.leave(kind, since);
  if (isNew && absence) story.leave(absence, label, connection?.pid);
}

/** Look how it is: a stream that is open may still bring nothing. */
function look() {
  const now = Date.now();
  const silent = state === "live" && now - numberAt > SILENT;
  if (silent) leave("silent", "Nothing arrived", numberAt);
  const answers = heartbeatAt > numberAt;
  show.status({ state: silent ? "silent" : state, now, since: numberAt, wait, connection, answers, tabs: tabs.count() });
  show.truth(truth, connection, now);
  story.render(now);
}
setInterval(look, 250);

// ---- the faults -----------------------------------------------------------------------------

function toggleOffline(button, label) {
  if (state === "offline") {
    open(stop.position);
  } else {
    story.press(label, connection?.pid);
    stop();
    setConnection(undefined);
    state = "offline";
    leave("away", label, Date.now());
  }
  button.querySelector("span").textContent = state === "offline" ? "Come back" : "Go offline";
}

async function cause(name, label) {
  if ((name === "cut" || name === "kill") && !connection) throw new Error("The page has no connection now.");
  const entry = story.press(label, connection?.pid);
  try {
    await parts.post(`faults/${name}`, connection ?? {});
    tabs.say(label);
  } catch (error) {
    story.forget(entry);
    throw error;
  }
}

for (const button of document.querySelectorAll("[data-fault]")) {
  const name = button.dataset.fault, label = button.querySelector("span").textContent;
  button.addEventListener("click", () => {
    if (name === "offline") toggleOffline(button, label);
    else parts.attempt(button, () => cause(name, label));
    look();
  });
}

open();
