import { element, live, send } from "layout";

const $ = (id) => document.getElementById(id);
const log = $("log");
const { user, since, stream, state, messages: url, typing } = log.dataset;
/** As many messages as the server gives at once; fewer are the last ones. */
const PAGE = 30;

// -- messages ------------------------------------------------------------------------------------

const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 80;
const scrollToEnd = () => { log.scrollTop = log.scrollHeight; };

/** Mark the user's own messages, and those that follow one of the same author. */
function arrange() {
  let before = "";
  for (const { dataset: { author }, classList } of $("messages").children) {
    classList.toggle("own", author === user);
    classList.toggle("follows", author === before);
    before = author;
  }
}

/** Show a message once, in the order of ids: two may be committed in one order and told in the other. */
function show(html) {
  const message = element(html);
  if ($(message.id)) return;
  const stays = atEnd() || message.dataset.author === user;
  const after = [...$("messages").children].findLast(({ dataset }) => +dataset.id < +message.dataset.id);
  message.classList.add("appears");
  if (after) after.after(message);
  else $("messages").prepend(message);
  arrange();
  stopTyping(message.dataset.author);
  if (stays) scrollToEnd();
}

function showAll(list) {
  $("messages").replaceChildren(...list.map(element));
  $("older").hidden = list.length < PAGE;
  arrange();
  scrollToEnd();
}

/** Put older messages above, and leave those where they are that the user looks at. */
async function showOlder() {
  if (log.ariaBusy === "true") return;
  log.ariaBusy = true;
  try {
    const answer = await get(`${url}/${$("messages").firstElementChild.dataset.id}`);
    const end = log.scrollHeight - log.scrollTop;
    $("messages").prepend(...answer.messages.map(element));
    $("older").hidden = answer.messages.length < PAGE;
    arrange();
    log.scrollTop = log.scrollHeight - end;
  } finally {
    log.ariaBusy = false;
  }
}

async function get(url) {
  const response = await fetch(url, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  return response.json();
}

// -- members, and who is typing --------------------------------------------------------------------

const members = new Set([...$("members").children].map((item) => item.textContent));
const typists = new Map();
let news = "";

function showMembers() {
  const items = [...members].sort().map((name) => {
    const item = document.createElement("li");
    item.textContent = name;
    return item;
  });
  $("members").replaceChildren(...items);
  $("count").textContent = members.size;
}

function come(name) {
  if (members.has(name)) return;
  members.add(name);
  showMembers();
  announce(`${name} has joined.`);
}

function go(name) {
  if (!members.delete(name)) return;
  showMembers();
  stopTyping(name);
  announce(`${name} has left.`);
}

function announce(text) {
  news = text;
  showStatus();
  setTimeout(() => {
    if (news === text) news = "";
    showStatus();
  }, 5_000);
}

function startTyping(name) {
  if (name === user) return;
  clearTimeout(typists.get(name));
  // Nobody tells when somebody stops; the next one would have come by then.
  typists.set(name, setTimeout(stopTyping, 5_000, name));
  showStatus();
}

function stopTyping(name) {
  clearTimeout(typists.get(name));
  if (typists.delete(name)) showStatus();
}

function showStatus() {
  const names = [...typists.keys()];
  const typing = names.length > 1 ? `${names.join(", ")} are typing …` : `${names[0]} is typing …`;
  $("status").textContent = names.length ? typing : news;
}

// -- the stream ------------------------------------------------------------------------------------

live(stream, {
  message: ({ html }) => show(html),
  typing: ({ name }) => startTyping(name),
  join: ({ identity }) => come(identity),
  leave: ({ identity }) => go(identity),
  /** Events are missing: show what the server has, and go on from there. */
  async load() {
    const now = await get(state);
    showAll(now.messages);
    members.clear();
    for (const name of now.members) members.add(name);
    showMembers();
    return now.position;
  },
  state(name) {
    // Somebody has signed out, maybe in another tab: the server says what this page may show.
    if (name === "ended" || name === "refused") location.reload();
  },
}, { since, identity: user });

// -- the user --------------------------------------------------------------------------------------

let typedAt = 0;

$("say").addEventListener("input", ({ target }) => {
  if (!target.value.trim() || Date.now() - typedAt < 2_500) return;
  typedAt = Date.now();
  // It matters to nobody whether it arrives.
  fetch(typing, { method: "POST" }).catch(() => {});
});

$("say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { text } = event.target.elements;
  if (text.readOnly || !text.value.trim()) return;
  text.readOnly = true;
  const said = await send(url, { text: text.value });
  if (said) {
    show(said.html);
    text.value = "";
    typedAt = 0;
  }
  text.readOnly = false;
});

$("older").addEventListener("click", showOlder);
new IntersectionObserver(([{ isIntersecting }]) => {
  if (isIntersecting && !$("older").hidden) showOlder();
}, { root: log, rootMargin: "200px 0px 0px" }).observe($("older"));

$("older").hidden = $("messages").children.length < PAGE;
arrange();
scrollToEnd();
