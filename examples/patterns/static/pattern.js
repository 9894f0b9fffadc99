import { live, send } from "layout";

/** The names that the patterns give to events. */
const NAMES = ["message", "title", "silence", "timeout", "remove"];
const MOST = 100;
const logs = document.querySelectorAll("[data-stream]");
let since = performance.now();

/** Add a line: how long after the last click it is, its name, and its data. */
function add(log, name, text) {
  const line = document.createElement("li");
  line.className = `${name} appears`;
  const seconds = ((performance.now() - since) / 1000).toFixed(1);
  for (const [tag, content] of [["small", `${seconds} s`], ["b", name], ["code", text]]) {
    line.appendChild(document.createElement(tag)).textContent = content;
  }
  log.append(line);
  if (log.children.length > MOST) log.firstElementChild.remove();
  log.scrollTop = log.scrollHeight;
}

for (const log of logs) {
  const show = (data, { name, text }) => add(log, name, text);
  live(log.dataset.stream, Object.fromEntries(NAMES.map((name) => [name, show])));
}

async function emit({ url, values }) {
  since = performance.now();
  for (const log of logs) add(log, "emitted", values.slice(1, -1));
  for (const value of JSON.parse(values)) {
    if (!await send(url, value)) break;
  }
}

// The events have the order of the clicks.
let emitted = Promise.resolve();
for (const button of document.querySelectorAll("[data-values]")) {
  button.addEventListener("click", () => {
    emitted = emitted.then(() => emit(button.dataset));
  });
}
