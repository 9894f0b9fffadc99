"use strict";
// One EventSource for one job; its stream ends for good with the job.

const $ = (id) => document.getElementById(id);
const AGAIN = 3;  // seconds
window.job = { source: null, ended: false };

function setStatus(state, text) {
  $("status").dataset.state = state;
  $("state").textContent = text;
}

function show(job) {
  $("step").textContent = job.step;
  $("percent").textContent = `${job.percent} %`;
  $("bar").value = job.percent;
}

function open() {
  const source = new EventSource(document.body.dataset.stream);
  window.job.source = source;
  source.onmessage = (event) => show(JSON.parse(event.data));
  source.addEventListener("ready", () => setStatus("live", "watching"));
  source.addEventListener("reconnect", () => setStatus("waiting", "moving to another worker"));
  source.addEventListener("reset", () => setStatus("live", "watching, some steps were missed"));
  source.addEventListener("end", () => {
    window.job.ended = true;
    setStatus("waiting", "the job is done");
  });
  source.onerror = () => {
    if (window.job.ended) {
      // CLOSED is what the 204 makes of it: the browser does not come back.
      if (source.readyState === EventSource.CLOSED) setStatus("done", "done, and the stream is over");
      return;
    }
    setStatus("lost", "reconnecting");
    if (source.readyState === EventSource.CLOSED) setTimeout(open, AGAIN * 1000);
  };
}

open();
