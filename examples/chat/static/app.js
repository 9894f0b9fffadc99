"use strict";
const $ = (id) => document.getElementById(id);
const gone = new Set();  // who left while this page was there
let name, source;

function show(text, kind) {
  const item = document.createElement("li");
  item.textContent = text;
  item.className = kind;
  $("said").append(item);
  item.scrollIntoView();
}

function listen() {
  source = new EventSource(`${room}/stream?name=${encodeURIComponent(name)}`);
  const on = (type, react) => source.addEventListener(type, (event) => react(JSON.parse(event.data)));
  on("ready", () => { $("state").textContent = "live"; });
  on("said", (message) => show(`${message.name}: ${message.text}`, "said"));
  on("joined", (who) => show(`${who.name} joined`, "presence"));
  on("left", (who) => { gone.add(who.name); show(`${who.name} left`, "presence"); });
  // Most who reconnect were not missed.
  on("back", (who) => { if (gone.delete(who.name)) show(`${who.name} is back`, "presence"); });
  on("reset", () => show("Some messages are missing here.", "presence"));
  source.onerror = () => {
    // CLOSED: refused, and the browser does not try again.
    const refused = source.readyState === EventSource.CLOSED;
    $("state").textContent = refused ? "You were not let in: try again, or with another name." : "reconnecting";
    if (refused) $("enter").hidden = false;
  };
}

// A page in the back/forward cache would keep its stream open, and never leave the room.
addEventListener("pagehide", () => source?.close());
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  name = event.target.elements.name.value.trim();
  event.target.hidden = true;
  $("room").hidden = false;
  $("said").replaceChildren();
  $("state").textContent = "connecting";
  listen();
});

$("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { text } = event.target.elements;
  if (text.readOnly) return;  // on its way
  text.readOnly = true;
  const sent = await fetch(room, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name, text: text.value }),
  }).then((response) => response.ok, () => false);
  text.readOnly = false;
  if (sent) text.value = "";
  $("problem").textContent = sent ? "" : "Not sent, try again.";
});
