"use strict";
// One EventSource for one job; its stream ends for good with the job.

const $ = (id) => document.getElementById(id);
const source = new EventSource(document.body.dataset.stream);
window.job = { source, ended: false };

function setStatus(state, text) {
  $("status").dataset.state = state;
  $("status").lastElementChild.textContent = text;
}

source.onmessage = (event) => {
  const job = JSON.parse(event.data);
  $("step").textContent = job.step;
  $("percent").textContent = `${job.percent} %`;
  $("bar").value = job.percent;
};
source.addEventListener("ready", () => setStatus("live", "watching"));
source.addEventListener("end", () => {
  window.job.ended = true;
  setStatus("waiting", "the job is done");
});
source.onerror = () => {
  // CLOSED is what the 204 makes of it; CONNECTING is any other loss, and the browser comes back.
  if (source.readyState === EventSource.CLOSED) setStatus("live", "done, and the stream is over");
  else if (!window.job.ended) setStatus("lost", "reconnecting");
};
