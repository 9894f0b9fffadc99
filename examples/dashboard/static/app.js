"use strict";
const $ = (id) => document.getElementById(id);
let heardAt, source;

function open() {
  source?.close();
  heardAt = Date.now();
  source = new EventSource("stream");
  const on = (name, react) => source.addEventListener(name, (event) => {
    heardAt = Date.now();
    react?.(JSON.parse(event.data));
  });
  for (const metric of metrics) on(metric, ({ value }) => { $(metric).textContent = value; });
  on("ready", () => { $("state").textContent = "live"; });
  on("heartbeat");
  on("reset", open);  // figures are missing: a new stream begins with the last ones
  source.onerror = () => { $("state").textContent = "reconnecting"; };
}

open();
// A heartbeat comes every 15 s at least: much more silence is a connection that died unnoticed.
setInterval(() => { if (Date.now() - heardAt > 45000) open(); }, 5000);

$("send").addEventListener("click", async () => {
  const metric = metrics[Math.floor(Math.random() * metrics.length)];
  const sent = await fetch(`metrics/${metric}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ value: Math.round(Math.random() * 100) }),
  }).then((response) => response.ok, () => false);
  $("problem").textContent = sent ? "" : "Not sent, try again.";
});
