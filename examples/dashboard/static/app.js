import { live, send } from "layout";
import { Plot } from "./plot.js";

const $ = (id) => document.getElementById(id);
const { stream, kept, metrics } = $("plots").dataset;
const plots = Object.fromEntries(
  Object.entries(JSON.parse(metrics)).map(([name, metric]) => [name, new Plot($(name), metric, +kept)]),
);
let stop = () => {};

/** Show the metrics that are chosen, and listen to no others. */
function open() {
  stop();
  const chosen = new FormData($("choose")).getAll("metric");
  for (const [name, plot] of Object.entries(plots)) plot.show(chosen.includes(name));
  $("nothing").hidden = chosen.length > 0;
  const query = new URLSearchParams(chosen.map((name) => ["metric", name]));
  // The address says what is shown, for a reload and for a bookmark.
  history.replaceState(null, "", `?${query}`);
  if (!chosen.length) return;
  // All that is kept comes first, so there is nothing to load.
  stop = live(`${stream}?${query}`, {
    message: ({ metric, t, values }) => plots[metric].add(t, values),
    mark: (mark) => Object.values(plots).forEach((plot) => plot.mark(mark)),
    // Figures are missing: begin anew with those that are kept.
    reset: open,
  }, { identity: "everybody" });
}

$("choose").addEventListener("change", open);
$("mark").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = event.target.text;
  if (await send(event.target.action, { text: text.value })) text.value = "";
});
open();
// For the console: plots.cpu.data
window.plots = plots;
