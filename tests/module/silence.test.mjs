// Tabs and workers that die: the time of this file passes fifteen times as fast.

import assert from "node:assert/strict";
import { test } from "node:test";

import { hurry, moduleUrl, numbered, query, ready as readyWith, serve, stream, until } from "./scene.mjs";

hurry(15);
const { kill, open } = await import("./tabs.mjs");

// Heartbeats are far apart, so that no test meets the look for silence.
const ready = (id) => readyWith(id, { heartbeat: 1_000 });

test("a tab that dies without a word is noticed", async (t) => {
  let closed = 0;
  const { url } = await serve(t, (response, request) => {
    request.socket.on("close", () => closed++);
    stream(ready("1-0"))(response);
  });
  const { port } = new SharedWorker(moduleUrl, { type: "module" });
  port.postMessage({ join: ["ann", url], from: "" });
  let messages = 0;
  port.onmessage = () => messages++;
  t.after(() => port.close());
  await until(() => messages >= 3);

  assert.equal(closed, 0);
  await until(() => closed === 1);
});

test("a tab that was silent, and not dead, stays", async (t) => {
  const { url, requests } = await serve(t, stream(ready("1-0")));
  const tab = open(t, url);
  await until(() => tab.states.includes("live"));
  const later = Date.now() + 80_000;
  await until(() => Date.now() > later);

  assert.equal(requests.length, 1);
});

test("a worker that died is replaced, and nothing is lost", async (t) => {
  const { url, requests } = await serve(t, stream(ready("1-0") + numbered(2)), stream(ready("2-0") + numbered(3)));
  const tab = open(t, url);
  await until(() => tab.heard.length === 1);
  await kill();
  await until(() => tab.heard.length === 2);

  assert.deepEqual([tab.heard, requests.map(query)], [[2, 3], [null, "2-0"]]);
});

test("where the worker does not answer, a tab has its own connection", async (t) => {
  const { url, requests } = await serve(t, stream(ready("1-0") + numbered(2)));
  globalThis.SharedWorker = class { port = new MessageChannel().port1; };
  const tab = open(t, url);
  await until(() => tab.heard.length === 1);

  assert.equal(requests.length, 1);
});
