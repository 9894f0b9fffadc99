"use strict";
const $ = (id) => document.getElementById(id);
let heardAt = Date.now();
let source;

function open() {
  source = new EventSource("stream");
  for (const metric of metrics) {
    source.addEventListener(metric, (event) => {
      heardAt = Date.now();
      $(metric).textContent = JSON.parse(event.data).value;
    });
  }
  source.addEventListener("heartbeat", () => { heardAt = Date.now(); });
  source.addEventListener("ready", () => { heardAt = Date.now(); $("state").textContent = "live"; });
  source.onerror = () => { $("state").textContent = "reconnecting"; };
}

open();
// A heartbeat comes every 15 s at least: much more silence is a connection that died unnoticed.
setInterval(() => {
  if (Date.now() - heardAt < 45000) return;
  heardAt = Date.now();
  source.close();
  open();
}, 5000);

new EventSource("stream/clock").onmessage = (event) => { $("clock").textContent = JSON.parse(event.data).time; };

$("send").addEventListener("click", () => {
  const metric = metrics[Math.floor(Math.random() * metrics.length)];
  fetch(`metrics/${metric}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ value: Math.round(Math.random() * 100) }),
  });
});
