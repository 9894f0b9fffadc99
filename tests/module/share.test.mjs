// One connection for all tabs.

import assert from "node:assert/strict";
import { test } from "node:test";

import { block, moduleUrl, numbered, query, ready, serve, status, stream, until } from "./scene.mjs";
import { open } from "./tabs.mjs";

const { subscribe } = await import(moduleUrl);

test("tabs of one identity have one connection, and each gets all", async (t) => {
  let send;
  const { url, requests } = await serve(t, (response) => {
    send = (text) => response.write(text);
    stream(ready("1-0"))(response);
  });
  const tabs = Array.from({ length: 7 }, () => open(t, url));
  await until(() => tabs.every(({ states }) => states.includes("live")));
  send(numbered(2, 3));
  await until(() => tabs.every(({ heard }) => heard.length === 2));

  assert.equal(requests.length, 1);
  assert.deepEqual(tabs.map(({ heard }) => heard), Array(7).fill([2, 3]));
});

test("identities and URLs are not mixed, and without an identity nothing is shared", async (t) => {
  const { url, requests } = await serve(t, stream(ready("1-0")));
  const tabs = [open(t, url), open(t, url, { identity: "bob" }), open(t, `${url}?x`), ...[1, 2].map(() => {
    const states = [];
    t.after(subscribe(url, { state: (state) => states.push(state) }));
    return { states };
  })];
  await until(() => tabs.every(({ states }) => states.includes("live")));

  assert.equal(requests.length, 5);
});

test("functions do not cross to the worker, so their stream is the tab's own", async (t) => {
  const { url, requests } = await serve(t, stream(ready("1-0")));
  const tabs = [1, 2].map((n) => open(t, url, { headers: () => ({ "X-Tab": String(n) }) }));
  await until(() => tabs.every(({ states }) => states.includes("live")));

  assert.deepEqual(requests.map(({ headers }) => headers["x-tab"]).sort(), ["1", "2"]);
});

test("the connection ends with the last tab, and a tab that comes then opens another", async (t) => {
  let closed = 0;
  const { url, requests } = await serve(t, (response, request) => {
    request.socket.on("close", () => closed++);
    stream(ready("1-0") + numbered(2))(response);
  });
  const tabs = [open(t, url), open(t, url)];
  await until(() => tabs.every(({ states }) => states.includes("live")));
  tabs[0].stop();
  tabs[1].stop();
  await until(() => closed === 1);
  const last = open(t, url);
  await until(() => last.heard.length);

  assert.deepEqual([requests.length, last.heard], [2, [2]]);
});

test("a tab that comes later begins now", async (t) => {
  let send;
  const { url, requests } = await serve(t, (response) => {
    send = (text) => response.write(text);
    stream(ready("1-0") + numbered(2))(response);
  });
  const first = open(t, url);
  await until(() => first.heard.length === 1);
  const reasons = [];
  const second = open(t, url, {}, { load: (reason) => { reasons.push(reason); } });
  await until(() => reasons.length);
  send(numbered(3));
  await until(() => second.heard.length === 1 && first.heard.length === 2);

  assert.deepEqual([first.heard, second.heard, reasons], [[2, 3], [3], ["open"]]);
  assert.deepEqual([second.stop.position, requests.length], ["3-0", 1]);
});

test("a tab that comes while the stream is away asks at once, and loads when it is live", async (t) => {
  const { url, requests } = await serve(t,
    stream(block({ id: "1-0", event: "ready", retry: 60_000 }) + numbered(2), { open: false }),
    stream(ready("2-0") + numbered(3)),
  );
  const first = open(t, url);
  await until(() => first.states.includes("away"));
  const reasons = [];
  const second = open(t, url, {}, { load: (reason) => { reasons.push(reason); } });
  await until(() => first.heard.length === 2 && second.heard.length === 1);

  assert.deepEqual([first.heard, second.heard, reasons], [[2, 3], [3], ["away", "open"]]);
  assert.deepEqual(requests.map(query), [null, "2-0"]);
});

test("a tab that was left behind gets what it missed, and the others nothing twice", async (t) => {
  const { url, requests } = await serve(t,
    stream(ready("1-0") + numbered(2, 3, 4)),
    stream(ready("2-0") + numbered(3, 4, 5)),
  );
  const first = open(t, url, {}, { load() {} });
  await until(() => first.heard.length === 3);
  const second = open(t, url, { since: "2-0" });
  await until(() => first.heard.length === 4 && second.heard.length === 3);

  assert.deepEqual([first.heard, second.heard], [[2, 3, 4, 5], [3, 4, 5]]);
  assert.deepEqual(requests.map(query), [null, "2-0"]);
  assert.deepEqual(first.states, ["connecting", "live"]);
});

test("a tab with a position that comes before the stream is live gets what it missed", async (t) => {
  const { url, requests } = await serve(t, (response) => setTimeout(() => stream(ready("5-0") + numbered(6))(response), 300),
    stream(ready("3-0") + numbered(4, 5, 6, 7)));
  const reasons = [];
  const first = open(t, url, {}, { load: (reason) => { reasons.push(reason); } });
  const second = open(t, url, { since: "3-0" });
  await until(() => first.heard.length === 2 && second.heard.length === 4);

  assert.deepEqual([first.heard, second.heard, reasons], [[6, 7], [4, 5, 6, 7], ["open"]]);
  assert.deepEqual(requests.map(query), [null, "3-0"]);
});

test("a tab whose page is newer than the stream gets nothing that it has", async (t) => {
  let send;
  const { url, requests } = await serve(t, (response) => {
    send = (text) => response.write(text);
    stream(ready("1-0"))(response);
  });
  const first = open(t, url);
  await until(() => first.states.includes("live"));
  const second = open(t, url, { since: "3-0" });
  await until(() => second.states.includes("live"));
  send(numbered(2, 3, 4));
  await until(() => first.heard.length === 3 && second.heard.length);

  assert.deepEqual([second.heard, requests.length], [[4], 1]);
});

test("where positions begin anew, all tabs go on", async (t) => {
  const { url } = await serve(t,
    stream(ready("8-0") + numbered(9), { open: false }),
    stream(ready("2-0") + block({ event: "reset", data: { reason: "rolled back" } }) + numbered(3)),
  );
  const reasons = [];
  const tabs = [1, 2].map(() => open(t, url, {}, { load: (reason) => { reasons.push(reason); } }));
  await until(() => tabs.every(({ heard }) => heard.at(-1) === 3));

  assert.equal(reasons.filter((reason) => reason === "rolled back").length, 2);
});

test("all tabs are told that the stream is refused or over, and one that comes then asks anew", async (t) => {
  const { url, requests } = await serve(t, status(403), stream(ready("1-0") + block({ event: "end", id: "end" })));
  const tabs = [open(t, url), open(t, url)];
  await until(() => tabs.every(({ states }) => states.includes("refused")));
  const last = open(t, url);
  await until(() => last.states.includes("ended"));

  assert.equal(requests.length, 2);
});

test("without a worker each tab has its own connection", async (t) => {
  const { url, requests } = await serve(t, stream(ready("1-0") + numbered(2)));
  const forbidden = class { constructor() { throw new Error("SecurityError"); } };
  const failing = class { port = new MessageChannel().port1; constructor() { setTimeout(() => this.onerror(), 10); } };
  for (const kind of [forbidden, failing, undefined]) {
    globalThis.SharedWorker = kind;
    const tab = open(t, url);
    await until(() => tab.heard.length === 1);
    tab.stop();
  }

  assert.equal(requests.length, 3);
});
