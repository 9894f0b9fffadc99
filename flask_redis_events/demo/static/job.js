// The page of one job; its stream ends for good with the job.
import { subscribe } from "flask-redis-events";

const $ = (id) => document.getElementById(id);
const SAYS = {
  connecting: "connecting",
  live: "watching",
  away: "reconnecting",
  ended: "done, and the stream is over",
  refused: "refused",
};

subscribe(document.body.dataset.stream, {
  message({ step, percent }) {
    $("step").textContent = step;
    $("percent").textContent = `${percent} %`;
    $("bar").value = percent;
  },
  state(name) {
    $("status").dataset.state = name;
    $("state").textContent = SAYS[name];
  },
});
