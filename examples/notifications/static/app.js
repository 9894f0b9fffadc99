import { element, live, send } from "layout";

const $ = (id) => document.getElementById(id);
const list = $("list");
const title = document.title;

function count(unread) {
  $("unread").textContent = unread;
  $("unread").hidden = $("read-all").hidden = !unread;
  document.title = unread ? `(${unread}) ${title}` : title;
}

/** Show a note once, because a page that was rendered in that moment gets it by the stream, too. */
function show(html) {
  const note = element(html);
  const shown = $(note.id);
  if (shown) {
    shown.replaceWith(note);
  } else {
    note.classList.add("appears");
    list.prepend(note);
  }
}

live(list.dataset.stream, {
  note({ html, unread }) {
    show(html);
    count(unread);
  },
  read({ ids, unread }) {
    for (const id of ids) $(`note-${id}`)?.classList.remove("unread");
    count(unread);
  },
  /** Events are missing: show what the database has, and go on from there. */
  async load() {
    const response = await fetch(list.dataset.state, { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(`The state is not to be had: ${response.status}.`);
    const { notes, unread, position } = await response.json();
    list.replaceChildren(...notes.map(element));
    count(unread);
    return position;
  },
  state(name) {
    // Somebody has signed out, maybe in another tab: the server says what this page may show.
    if (name === "ended" || name === "refused") location.reload();
  },
}, { since: list.dataset.since, identity: list.dataset.user });

list.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  // The list changes when the event comes back, here and in the other tabs alike.
  if (button) send(`${list.dataset.read}/${button.value}`);
});

$("read-all").addEventListener("click", () => send(list.dataset.read));

$("send").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  const { to, text } = form.elements;
  button.disabled = true;
  $("sent").textContent = "";
  if (await send(form.action, { to: to.value, text: text.value })) {
    $("sent").textContent = `Sent to ${to.value}.`;
    text.value = "";
    text.focus();
  }
  button.disabled = false;
});

count(Number($("unread").textContent));
