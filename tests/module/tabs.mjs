// Tabs of one browser: the module in a thread as their worker, and the tabs in this one.

import assert from "node:assert/strict";
import { once } from "node:events";
import { afterEach, beforeEach } from "node:test";
import { Worker } from "node:worker_threads";

import { factor, moduleUrl } from "./scene.mjs";

let thread;
/** As the browser's: all that are made of one URL are one. */
export class SharedWorker {
  constructor(url, options) {
    assert.deepEqual([String(url), options], [String(moduleUrl), { type: "module" }]);
    thread ??= start();
    const { port1, port2 } = new MessageChannel();
    thread.postMessage(port1, [port1]);
    this.port = port2;
  }
}

globalThis.SharedWorker = SharedWorker;
const { subscribe } = await import(moduleUrl);

function start() {
  return new Worker(new URL("./worker.mjs", import.meta.url), { workerData: { factor: factor() } });
}

export async function kill() {
  await thread?.terminate();
  thread = undefined;
}

// A tab does not wait long for the worker's answer, and a thread takes its time to start.
beforeEach(async () => {
  thread = start();
  await once(thread, "message");
});

afterEach(async () => {
  globalThis.SharedWorker = SharedWorker;
  await kill();
});

/** A tab that listens, with all that it is told. */
export function open(t, url, { identity = "ann", ...options } = {}, handlers = {}) {
  const heard = [], states = [];
  const stop = subscribe(url, {
    message: (data) => heard.push(data), state: (state) => states.push(state), ...handlers,
  }, { identity, ...options });
  t.after(stop);
  return { heard, states, stop };
}

