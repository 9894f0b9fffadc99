// The chat and the jobs, which are named events of the same stream as the numbers.

const $ = (id) => document.getElementById(id);

/** Make an element with a text. */
export function make(name, text = "", attributes = {}) {
  const element = document.createElement(name);
  element.textContent = text;
  return Object.assign(element, attributes);
}

export function showLine({ name, text }) {
  const item = make("li");
  item.append(make("b", name), ` ${text}`);
  $("lines").append(item);
  $("lines").scrollTop = $("lines").scrollHeight;
}

export function showJob({ id, name, step, percent, status }) {
  let item = document.querySelector(`[data-job="${CSS.escape(id)}"]`);
  if (!item) {
    item = make("li");
    item.dataset.job = id;
    const row = make("div");
    row.append(make("a", name, { href: `jobs/${encodeURIComponent(id)}`, target: "_blank" }), make("span"));
    item.append(row, make("progress", "", { max: 100, ariaLabel: `Job ${name}` }));
    $("running").prepend(item);
    while ($("running").childElementCount > 4) $("running").lastElementChild.remove();
  }
  item.querySelector("span").textContent = status === "completed" ? "done" : `${step} · ${percent} %`;
  item.querySelector("progress").value = percent;
}

export function clear() {
  $("lines").replaceChildren();
  $("running").replaceChildren();
}

/** Post; throw an error whose text is for people. */
export async function post(url, body = {}) {
  const response = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })
    .catch(() => { throw new Error("No answer: it may arrive yet, or try again."); });
  if (!response.ok) {
    const said = await response.json().catch(() => ({}));
    throw new Error(said.error ?? `The answer was ${response.status}: try again.`);
  }
}

/** Do one thing at a time; what was refused is said beside the button that was pressed. */
export async function attempt(button, action) {
  const trouble = button.closest(".card").querySelector(".trouble");
  button.disabled = true;
  try {
    await action();
    trouble.textContent = "";
  } catch (error) {
    trouble.textContent = error.message;
  }
  button.disabled = false;
}

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const { name, text } = event.target.elements;
  attempt(event.submitter, async () => {
    await post("chat", { name: name.value, text: text.value });
    text.value = "";
  });
});
$("start").addEventListener("click", (event) => attempt(event.currentTarget, () => post("jobs")));
