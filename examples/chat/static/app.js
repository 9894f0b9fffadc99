"use strict";
const $ = (id) => document.getElementById(id);
let name;

function show(text, kind) {
  const item = document.createElement("li");
  item.textContent = text;
  item.className = kind;
  $("said").append(item);
  item.scrollIntoView();
}

$("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  name = event.target.elements.name.value;
  event.target.hidden = true;
  document.querySelector("main").hidden = false;
  const source = new EventSource(`${room}/stream?name=${encodeURIComponent(name)}`);
  source.addEventListener("said", (event) => {
    const message = JSON.parse(event.data);
    show(`${message.name}: ${message.text}`, "said");
  });
  for (const what of ["joined", "left"]) {
    source.addEventListener(what, (event) => show(`${JSON.parse(event.data).name} ${what}`, "presence"));
  }
  source.addEventListener("reset", () => show("Some messages are missing here.", "presence"));
});

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const { text } = event.target.elements;
  fetch(room, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name, text: text.value }),
  });
  text.value = "";
});
