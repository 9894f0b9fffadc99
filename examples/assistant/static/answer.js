import { live, send } from "layout";

const $ = (id) => document.getElementById(id);
const answer = $("answer");
const STATES = {
  pending: "Waiting for a worker …",
  running: "Answering …",
  stopping: "Stopping …",
  finished: "",
  stopped: "Stopped.",
  failed: "The answer has failed.",
  lost: "The answer has ended, because its worker has died.",
};

function show(state) {
  const over = !["pending", "running", "stopping"].includes(state);
  answer.dataset.state = state;
  answer.ariaBusy = !over;
  $("state").textContent = STATES[state];
  $("stop").hidden = over;
}

// All of the answer comes from its start, in whatever pieces; after the last one comes the end.
live(answer.dataset.stream, {
  message(text) {
    answer.append(text);
    if (answer.dataset.state === "pending") show("running");
  },
  reset: () => answer.replaceChildren(),
  end: ({ state }) => show(state),
});

$("stop").addEventListener("click", async ({ target }) => {
  target.disabled = true;
  const sent = await send(target.dataset.url);
  target.disabled = false;
  if (sent?.stopping && answer.ariaBusy === "true") show("stopping");
});
