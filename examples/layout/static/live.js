// What the pages of all examples share: the light in the header, requests, times and fragments.

import { subscribe } from "flask-redis-events";

const TEXTS = {
  connecting: "Connecting",
  live: "Live",
  away: "Reconnecting",
  refused: "Refused",
  ended: "Ended",
};
const pill = document.getElementById("connection");

/** Subscribe to a stream, and show in the header how it is. */
export function live(url, handlers, options) {
  return subscribe(url, {
    ...handlers,
    state(name, detail) {
      pill.dataset.state = name;
      pill.textContent = TEXTS[name];
      handlers.state?.(name, detail);
    },
  }, options);
}

/** Show what has failed; an empty text takes it away. */
export function report(text) {
  const problem = document.getElementById("problem");
  problem.textContent = text;
  problem.hidden = !text;
}

/** POST data as JSON, and return the answer; after a failure show it, and return null. */
export async function send(url, data = {}) {
  let problem = "The server cannot be reached. Please try again.";
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { Accept: "application/json", "Content-Type": "application/json" },
      body: JSON.stringify(data),
    });
    const answer = response.status === 204 ? {} : await response.json();
    if (response.ok) {
      report("");
      return answer;
    }
    problem = answer.error;
  } catch {
    // No answer, or none of ours.
  }
  report(problem);
  return null;
}

/** Return the element that the server has rendered; its template has escaped all that users wrote. */
export function element(html) {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  localize(template.content);
  return template.content.firstElementChild;
}

const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** Write the times in the user's language and time zone, which the server does not know. */
export function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const today = at.toDateString() === new Date().toDateString();
    time.textContent = today ? TIME.format(at) : `${DATE.format(at)}, ${TIME.format(at)}`;
    time.title = at.toLocaleString();
  }
}

localize(document);
