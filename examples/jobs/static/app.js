"use strict";
const $ = (id) => document.getElementById(id);

function watch({ id, stream }) {
  const item = document.createElement("li");
  const bar = document.createElement("progress");
  const text = document.createElement("span");
  bar.max = 100;
  bar.setAttribute("aria-label", `Job ${id}`);
  item.append(`${id} `, bar, text);
  $("jobs").append(item);

  const source = new EventSource(stream);
  source.onmessage = (event) => {
    const { percent, status, message } = JSON.parse(event.data);
    bar.value = percent;
    text.textContent = ` ${status}: ${message ?? ""}`;
  };
  // Each event is the whole state, so the next one will do; after the last one none comes.
  source.addEventListener("reset", () => { text.textContent = " some steps are missing here"; });
  // Without this the browser would ask once more, be answered 204, and stop as well.
  source.addEventListener("end", () => source.close());
}

$("start").addEventListener("click", async () => {
  const response = await fetch("jobs", { method: "POST" }).catch(() => null);
  $("problem").textContent = response?.ok ? "" : "Not started, try again.";
  if (response?.ok) watch(await response.json());
});
