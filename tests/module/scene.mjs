// A server that answers as it is told, request by request, and short ways to wait.

import http from "node:http";

export const moduleUrl = new URL("../../flask_redis_events/static/redis-events.js", import.meta.url);

/** Start a server; `answers` has a function (request, response) for each request, the last for all others. */
export async function serve(t, ...answers) {
  const requests = [];
  const server = http.createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    const { method, headers, url } = request;
    requests.push({ method, headers, url, body, at: Date.now() });
    answers[Math.min(requests.length, answers.length) - 1](response, request);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { requests, url: `http://127.0.0.1:${server.address().port}/stream` };
}

/** An answer with a stream: its text, and whether it stays open. */
export const stream = (text, { open = true } = {}) => (response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8" });
  response.write(text);
  if (!open) response.end();
};

export const status = (code, headers = {}) => (response) => response.writeHead(code, headers).end();

const field = (name, value) => (value === undefined ? "" : `${name}: ${value}\n`);

export const block = ({ id, event, retry, data = {} }) =>
  field("id", id) + field("event", event) + field("retry", retry) + `data: ${JSON.stringify(data)}\n\n`;

export const numbered = (...numbers) => numbers.map((n) => block({ id: `${n}-0`, data: n })).join("");

/** The position that a request was sent. */
export const query = (request) => new URL(request.url, "http://x").searchParams.get("last_event_id");

/** The first block of a stream, which asks for short waits. */
export const ready = (id, { heartbeat = 15 } = {}) =>
  block({ id, event: "ready", retry: 20, data: { id, heartbeat } });

// Tests wait in real time, whatever `hurry` does.
const { now } = Date, { setTimeout: wait } = globalThis;

export async function until(condition, timeout = 10_000) {
  const deadline = now() + timeout;
  for (;;) {
    const value = condition();
    if (value) return value;
    if (now() > deadline) throw new Error(`${condition} did not become true.`);
    await new Promise((resolve) => wait(resolve, 5));
  }
}

export const pause = (milliseconds) => new Promise((resolve) => wait(resolve, milliseconds));

let speed = 1;

/** How much faster time passes. */
export const factor = () => speed;

/** Let time pass faster, for code that was imported from here on too. */
export function hurry(times) {
  const { setTimeout, setInterval } = globalThis, began = now();
  speed = times;
  globalThis.setTimeout = (action, wait, ...given) => setTimeout(action, wait / times, ...given);
  globalThis.setInterval = (action, wait, ...given) => setInterval(action, wait / times, ...given);
  Date.now = () => began + (now() - began) * times;
}
