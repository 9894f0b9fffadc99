"use strict";
const $ = (id) => document.getElementById(id);

function watch({ id, stream }) {
  const item = document.createElement("li");
  const bar = document.createElement("progress");
  const text = document.createElement("span");
  bar.max = 100;
  item.append(`${id} `, bar, text);
  $("jobs").append(item);

  const source = new EventSource(stream);
  source.onmessage = (event) => {
    const { percent, status, message } = JSON.parse(event.data);
    bar.value = percent;
    text.textContent = ` ${status}: ${message ?? ""}`;
  };
  // Without this the browser would ask once more, be answered 204, and stop as well.
  source.addEventListener("end", () => source.close());
}

$("start").addEventListener("click", async () => {
  const response = await fetch("jobs", { method: "POST" });
  watch(await response.json());
});
