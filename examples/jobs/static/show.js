// How a job looks, in the list and on its own page.

import { send } from "layout";

const TEXTS = {
  pending: () => "Waiting for a worker",
  running: ({ step, percent }) => `${step ?? "Starting"}, ${percent ?? 0} %`,
  stopping: ({ percent }) => `Stopping at ${percent ?? 0} %`,
  finished: () => "Finished",
  stopped: ({ percent }) => `Cancelled at ${percent ?? 0} %`,
  failed: ({ percent, problem }) => `Failed at ${percent ?? 0} %. ${problem ?? ""}`,
  lost: ({ percent }) => `Lost at ${percent ?? 0} %, because its worker has died`,
};
const OVER = ["finished", "stopped", "failed", "lost"];

/** Show what is new of a job; its element remembers the rest. */
export function show(element, news = {}) {
  const job = Object.assign(element.dataset, news);
  element.querySelector(".text").textContent = TEXTS[job.state](job);
  element.querySelector(".stop").hidden = OVER.includes(job.state);
  // A bar without a value moves from side to side.
  const bar = element.querySelector("progress");
  if (job.percent) bar.value = job.percent;
  else if (OVER.includes(job.state)) bar.value = 0;
  else bar.removeAttribute("value");
}

/** Say that a step has been made; a job that is to stop may still make some. */
export function advance(element, news) {
  show(element, { state: element.dataset.state === "stopping" ? "stopping" : "running", ...news });
}

document.addEventListener("click", async ({ target }) => {
  if (!target.matches(".stop")) return;
  const job = target.closest(".job");
  target.disabled = true;
  const answer = await send(target.dataset.url);
  target.disabled = false;
  if (answer?.stopping && !OVER.includes(job.dataset.state)) show(job, { state: "stopping" });
});
