"use strict";
const $ = (id) => document.getElementById(id);
const source = new EventSource(`stream/${encodeURIComponent(user)}`);
let unread = 0;

function countUnread(count) {
  unread = count;
  $("unread").textContent = unread;
  $("unread").hidden = unread === 0;
}

source.onmessage = (event) => {
  const { from, text, server_time: at } = JSON.parse(event.data);
  const item = document.createElement("li");
  item.textContent = `${new Date(at * 1000).toLocaleTimeString()}  ${from}: ${text}`;
  $("list").append(item);
  if (document.hidden) countUnread(unread + 1);
};
source.addEventListener("ready", () => { $("state").textContent = "live"; });
source.addEventListener("reset", () => location.reload());
source.onerror = () => {
  // CLOSED: refused (401, 403), and the browser does not try again.
  $("state").textContent = source.readyState === EventSource.CLOSED ? "refused" : "reconnecting";
};
document.addEventListener("visibilitychange", () => countUnread(0));

$("send").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { to, text } = event.target.elements;
  if (text.readOnly) return;  // on its way
  text.readOnly = true;
  const sent = await fetch(`notify/${encodeURIComponent(to.value.trim())}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text: text.value }),
  }).then((response) => response.ok, () => false);
  text.readOnly = false;
  if (sent) text.value = "";
  $("problem").textContent = sent ? "" : "Not sent, try again.";
});
