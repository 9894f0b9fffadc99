"use strict";
const $ = (id) => document.getElementById(id);
let source = null;

// The answer's id is in the page's address, so that a reload and a second window find the answer.
function show() {
  source?.close();
  const id = location.hash.slice(1);
  if (!id) return;
  $("answer").textContent = "";
  $("state").textContent = "waiting";
  $("stop").disabled = false;
  source = new EventSource(`answers/${encodeURIComponent(id)}/stream`);
  source.onmessage = (event) => {
    $("state").textContent = "answering";
    $("answer").textContent += JSON.parse(event.data);
  };
  // What follows a reset is the whole answer again.
  source.addEventListener("reset", () => { $("answer").textContent = ""; });
  source.addEventListener("end", (event) => {
    source.close();
    $("stop").disabled = true;
    $("state").textContent = JSON.parse(event.data).state;
  });
}

async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  const options = { method: "POST", headers, body: JSON.stringify(body) };
  const response = await fetch(path, options).catch(() => null);
  if (!response?.ok) $("state").textContent = "That did not work, try again.";
  return response?.ok ? response.json() : null;
}

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const asked = await post("answers", { question: $("question").value });
  if (asked) location.hash = asked.id;
});
$("stop").addEventListener("click", () => post(`answers/${location.hash.slice(1)}/stop`, {}));
addEventListener("hashchange", show);
show();
