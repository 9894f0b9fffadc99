import { element, live, send } from "layout";
import { advance, show } from "./show.js";

const $ = (id) => document.getElementById(id);
const list = $("jobs");

function add({ html }) {
  const job = element(html);
  if ($(job.id)) return;
  job.classList.add("appears");
  list.prepend(job);
  show(job);
}

/** Return a function that passes an event on to the job that it is of, if the list has that one. */
const of = (change) => ({ id, ...news }) => {
  const job = $(`job-${id}`);
  if (job) change(job, news);
};

for (const job of list.children) show(job);

live(list.dataset.stream, {
  new: add,
  message: of(advance),
  run: of(show),
  /** Events are missing: show what the server has, and go on from there. */
  async load() {
    const response = await fetch(list.dataset.url);
    if (!response.ok) throw new Error(`${response.status}`);
    const { jobs, position } = await response.json();
    list.replaceChildren(...jobs.map(element));
    for (const job of list.children) show(job);
    return position;
  },
}, { since: list.dataset.since, identity: "everybody" });

$("start").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  button.disabled = true;
  await send(form.action, { megabytes: +form.megabytes.value, broken: form.broken.checked });
  button.disabled = false;
});
