// The module as a SharedWorker: a thread that is sent the ports of its tabs.

import { parentPort, workerData } from "node:worker_threads";

import { hurry, moduleUrl } from "./scene.mjs";

hurry(workerData.factor);
globalThis.SharedWorkerGlobalScope = class {};
await import(moduleUrl);
parentPort.on("message", (port) => globalThis.onconnect({ ports: [port] }));
parentPort.postMessage("started");
