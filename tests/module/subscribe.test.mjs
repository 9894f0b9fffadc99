// subscribe() against a server that answers as proxies and servers do.

import assert from "node:assert/strict";
import { test } from "node:test";

import { block, moduleUrl, numbered, pause, query, ready, serve, status, stream, until } from "./scene.mjs";

const { Source, subscribe } = await import(moduleUrl);

/** Subscribe, and keep all that is told. */
function listen(t, url, handlers = {}, options = {}) {
  const heard = [], states = [], details = [];
  const stop = subscribe(url, {
    message: (data) => heard.push(data),
    state: (state, detail) => (states.push(state), details.push(detail)),
    ...handlers,
  }, options);
  t.after(stop);
  return { heard, states, details, stop };
}


test("each event goes to the function of its name, decoded", async (t) => {
  const { url } = await serve(t, stream(
    ready("1-0") + block({ id: "2-0", data: { a: 1 } }) + block({ event: "order", data: [2] })
    + "id: 3-0\nevent: card\ndata: <li>\ndata: x</li>\n\n" + block({ event: "state" }) + block({ event: "toString" }),
  ));
  const got = [];

  const { states } = listen(t, url, {
    message: (...given) => got.push(given),
    order: (...given) => got.push(given),
    card: (...given) => got.push(given),
  });
  await until(() => got.length === 3);

  assert.deepEqual(got, [
    [{ a: 1 }, { name: "message", id: "2-0", text: '{"a":1}' }],
    [[2], { name: "order", id: "", text: "[2]" }],
    ["<li>\nx</li>", { name: "card", id: "3-0", text: "<li>\nx</li>" }],
  ]);
  assert.deepEqual(states, ["connecting", "live"]);
});

test("text is what `parse` makes of it", async (t) => {
  const { url } = await serve(t, stream(ready("1-0") + "data: 1\n\n"));
  const { heard } = listen(t, url, {}, { parse: (text, name) => [name, text] });

  assert.deepEqual(await until(() => heard.length && heard), [["message", "1"]]);
});

test("bytes may be cut anywhere, and a byte order mark is no text", async (t) => {
  const bytes = Buffer.from("\ufeff" + ready("1-0") + "data: Zoë 💚\r\n\r\n");
  const { url } = await serve(t, async (response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    for (const byte of bytes) {
      response.write(Buffer.of(byte));
      await pause(0);
    }
  });
  const { heard, states } = listen(t, url);

  assert.deepEqual(await until(() => heard.length && heard), ["Zoë 💚"]);
  assert.deepEqual(states, ["connecting", "live"]);
});

test("a stream that was cut goes on after the last event", async (t) => {
  const { url, requests } = await serve(t,
    stream(ready("1-0") + numbered(2, 3), { open: false }),
    stream(ready("3-0") + numbered(4)),
  );
  const { heard, states, stop } = listen(t, url);
  await until(() => heard.length === 3);

  assert.deepEqual(heard, [2, 3, 4]);
  assert.deepEqual(states, ["connecting", "live", "away", "live"]);
  assert.deepEqual(requests.map(query), [null, "3-0"]);
  assert.equal(requests[1].headers.accept, "text/event-stream");
  assert.equal(stop.position, "4-0");
});

for (const code of [205, 400, 404, 410, 429, 500, 502, 503]) {
  test(`${code} is no reason to give up`, async (t) => {
    const { url } = await serve(t, stream(ready("1-0"), { open: false }), status(code), stream(ready("1-0") + numbered(2)));
    const { heard, details } = listen(t, url);
    await until(() => heard.length === 1);

    assert.ok(details.some(({ status }) => status === 0));
  });
}

test("an answer that is no stream is no reason to give up", async (t) => {
  const page = (response) => response.writeHead(200, { "Content-Type": "text/html" }).end("<p>");
  const { url } = await serve(t, stream(ready("1-0"), { open: false }), page, stream(ready("1-0") + numbered(2)));
  const { heard } = listen(t, url);

  await until(() => heard.length === 1);
});

test("waits grow with each failure, up to half a minute, and are short again after `ready`", async (t) => {
  const { url } = await serve(t, stream(ready("1-0")));
  const { setTimeout: real } = globalThis;
  t.after(() => { globalThis.setTimeout = real; });
  // Waits pass at once; the look for silence, of forty seconds, does not.
  globalThis.setTimeout = (action, wait, ...given) => real(action, wait > 35_000 ? wait : wait / 100, ...given);
  let requests = 0;
  const { details, states } = listen(t, url, {}, {
    headers() { if (++requests < 13) throw new TypeError("offline"); return {}; },
  });
  await until(() => states.includes("live"));
  const failures = details.filter(({ error }) => error instanceof TypeError);

  assert.equal(failures.length, 12);
  failures.forEach(({ wait }, n) => {
    const longest = Math.min(30_000, 3_000 * 2 ** n);
    assert.ok(wait >= longest / 4 && wait <= longest, `${wait} ms after ${n} failures`);
  });
});

test("the server's Retry-After is respected, in both of its forms", async (t) => {
  const { url, requests } = await serve(t,
    stream(ready("1-0"), { open: false }),
    status(503, { "Retry-After": "1" }),
    (response) => status(429, { "Retry-After": new Date(Date.now() + 2_000).toUTCString() })(response),
    stream(ready("1-0")),
  );
  listen(t, url);
  await until(() => requests.length === 4);

  assert.ok(requests[2].at - requests[1].at >= 990);
  // The date has no fractions of a second.
  assert.ok(requests[3].at - requests[2].at >= 900);
});

test("after `reconnect` the wait is the one that it asks for", async (t) => {
  const farewell = block({ event: "reconnect", retry: 300, data: { reason: "draining" } });
  const { url, requests } = await serve(t, stream(ready("1-0") + farewell, { open: false }), stream(ready("1-0")));
  const { details } = listen(t, url);
  await until(() => requests.length === 2);

  assert.deepEqual(details.map(({ wait }) => wait).slice(0, 3), [0, 0, 300]);
});

test("a server without room does not count as live", async (t) => {
  const farewell = block({ event: "reconnect", retry: 20, data: { reason: "full" } });
  const { url } = await serve(t, stream(farewell, { open: false }), stream(ready("1-0")));
  const { states } = listen(t, url);
  await until(() => states.includes("live"));

  assert.deepEqual(states, ["connecting", "away", "live"]);
});

test("after `end` nothing is requested", async (t) => {
  const { url, requests } = await serve(t, stream(ready("1-0") + numbered(2) + block({ id: "2-0.end", event: "end" })));
  let ended = 0;
  const { heard, states } = listen(t, url, { end: () => ended++ });
  await until(() => states.includes("ended"));
  await pause(200);

  assert.deepEqual([heard, ended, requests.length], [[2], 1, 1]);
});

for (const [code, state] of [[204, "ended"], [401, "refused"], [403, "refused"]]) {
  test(`after ${code} nothing is requested, and the stream is ${state}`, async (t) => {
    const { url, requests } = await serve(t, stream(ready("1-0"), { open: false }), status(code));
    const { states, details } = listen(t, url);
    await until(() => states.includes(state));
    await pause(200);

    assert.deepEqual([requests.length, details.at(-1).status], [2, code]);
  });
}

test("a redirect to a login page is a refusal", async (t) => {
  const { url, requests } = await serve(t, status(302, { Location: "/login" }), (response) =>
    response.writeHead(200, { "Content-Type": "text/html" }).end("Who are you?"));
  const { states } = listen(t, url);
  await until(() => states.includes("refused"));
  await pause(200);

  assert.equal(requests.length, 2);
});

test("a stream that is silent for too long is opened anew; heartbeats tell how long that is", async (t) => {
  const { url, requests } = await serve(t, stream(ready("1-0", { heartbeat: 0.1 })), async (response, request) => {
    stream(ready("1-0", { heartbeat: 0.1 }))(response);
    for (let beats = 0; beats < 10; beats++) {
      await pause(100);
      response.write(": a comment is a sign of life, too\n");
    }
    response.write(numbered(2));
  });
  const { heard, states } = listen(t, url);
  await until(() => heard.length === 1);

  assert.ok(requests[1].at - requests[0].at >= 250);
  assert.equal(requests.length, 2);
  assert.deepEqual(states, ["connecting", "live", "away", "live"]);
});

test("headers are made for each request, and a token is fetched once after 401", async (t) => {
  const answer = (response, { headers }) =>
    (headers.authorization === "Bearer 2" ? stream(ready("1-0") + numbered(2)) : status(401))(response);
  const { url, requests } = await serve(t, answer);
  let token = 1;
  const { heard, states } = listen(t, url, {}, {
    headers: async () => ({ Authorization: `Bearer ${token}` }),
    refresh: async () => { token++; },
  });
  await until(() => heard.length === 1);

  assert.deepEqual(requests.map(({ headers }) => headers.authorization), ["Bearer 1", "Bearer 2"]);
  assert.deepEqual(states, ["connecting", "live"]);
});

test("a new token that is refused is the end", async (t) => {
  const { url, requests } = await serve(t, status(401));
  let refreshed = 0;
  const { states } = listen(t, url, {}, { headers: {}, refresh: async () => refreshed++ });
  await until(() => states.includes("refused"));
  await pause(100);

  assert.deepEqual([requests.length, refreshed], [2, 1]);
});

test("a token that cannot be fetched now is fetched again", async (t) => {
  const { url } = await serve(t, stream(ready("1-0"), { open: false }), status(401), status(401), stream(ready("1-0") + numbered(2)));
  let refreshed = 0;
  const { heard, details } = listen(t, url, {}, {
    refresh: async () => { if (!refreshed++) throw new Error("offline"); },
  });
  await until(() => heard.length === 1);

  assert.equal(refreshed, 2);
  assert.ok(details.some(({ error }) => error === undefined));
});

test("a request may be a POST, and its body is sent each time", async (t) => {
  const { url, requests } = await serve(t, stream(ready("1-0"), { open: false }), stream(ready("1-0") + numbered(2)));
  const { heard } = listen(t, url, {}, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: () => JSON.stringify({ q: 1 }),
  });
  await until(() => heard.length === 1);

  assert.deepEqual(requests.map(({ method, body }) => [method, body]), Array(2).fill(["POST", '{"q":1}']));
});

test("the state is loaded first, events wait for it, and those that it has are dropped", async (t) => {
  const { url } = await serve(t, stream(ready("1-0") + numbered(2, 3, 4) + block({ data: "no id" })));
  const { heard } = listen(t, url, {
    async load(reason) {
      await pause(100);
      heard.push(reason);
      return { position: "3-0" };
    },
  });
  await until(() => heard.length === 3);

  assert.deepEqual(heard, ["open", 4, "no id"]);
});

test("positions are numbers", async (t) => {
  const { url } = await serve(t, stream(ready("9-0") + block({ id: "9-10", data: "a" }) + block({ id: "10-0", data: "b" })));
  const { heard } = listen(t, url, { load: () => "9-9" });

  assert.deepEqual(await until(() => heard.length === 2 && heard), ["a", "b"]);
});

test("the state is loaded again where events are missing, and at no other time", async (t) => {
  const { url } = await serve(t,
    stream(ready("1-0") + numbered(2), { open: false }),
    stream(ready("2-0") + block({ event: "reset", data: { reason: "expired" } }) + numbered(9)),
  );
  const { heard } = listen(t, url, { load: async (reason) => { heard.push(reason); } });
  await until(() => heard.length === 4);

  assert.deepEqual(heard, ["open", 2, "expired", 9]);
});

test("a reset while the state is being loaded loads it once more, afterwards", async (t) => {
  const { url } = await serve(t, stream(ready("1-0") + block({ event: "reset", data: { reason: "flushed" } }) + numbered(2)));
  let loading = 0;
  const { heard } = listen(t, url, {
    async load(reason) {
      assert.equal(loading++, 0);
      await pause(50);
      heard.push(reason);
      loading--;
    },
  });
  await until(() => heard.length === 3);

  assert.deepEqual(heard, ["open", "flushed", 2]);
});

test("a stream without ids loads the state each time, because it cannot resume", async (t) => {
  const plain = ready() + block({ data: "x" });
  const { url } = await serve(t, stream(plain, { open: false }), stream(plain));
  const { heard } = listen(t, url, { load: (reason) => { heard.push(reason); } });
  await until(() => heard.length === 4);

  assert.deepEqual(heard, ["open", "x", "open", "x"]);
});

test("a page that has a position loads nothing", async (t) => {
  const { url, requests } = await serve(t, stream(ready("5-0") + numbered(6)));
  const load = () => assert.fail();
  const first = listen(t, url, { load }, { since: "5-0" });
  const second = listen(t, `${url}?last_event_id=5-0`, { load });
  await until(() => first.heard.length && second.heard.length);

  assert.deepEqual(requests.map(query), ["5-0", "5-0"]);
});

test("a page shows its state while there is no stream, which then begins there", async (t) => {
  const { url, requests } = await serve(t, status(503, { "Retry-After": "60" }), stream(ready("5-0") + numbered(6)));
  const { heard } = listen(t, url, { load: async (reason) => { heard.push(reason); return { position: "5-0" }; } });
  await until(() => heard.length === 2);

  assert.deepEqual(heard, ["away", 6]);
  assert.deepEqual(requests.map(query), [null, "5-0"]);
});

test("`end` and its state come after the events that wait", async (t) => {
  const { url } = await serve(t, stream(ready("1-0") + numbered(2) + block({ id: "2-0.end", event: "end" })));
  const { heard, states } = listen(t, url, {
    load: () => pause(100),
    end: () => heard.push("end"),
    state: (state) => state === "ended" && heard.push(state),
  });
  await until(() => heard.length === 3);

  assert.deepEqual(heard, [2, "end", "ended"]);
});

test("a function that fails, fails alone", async (t) => {
  const { url } = await serve(t, stream(ready("1-0") + numbered(2, 3)));
  const errors = [];
  globalThis.reportError = (error) => errors.push(error.message);
  t.after(() => { delete globalThis.reportError; });
  const heard = [];
  let tries = 0;
  listen(t, url, {
    message(data) { heard.push(data); throw new Error(`at ${data}`); },
    async load() { if (!tries++) throw new Error("at load"); },
  });
  await until(() => errors.length === 3);

  assert.deepEqual(heard, [2, 3]);
  assert.deepEqual(errors, ["at load", "at 2", "at 3"]);
});

test("events that wait are bounded; if there are more, the state is loaded once more", async (t) => {
  const many = Array.from({ length: 10_001 }, (_, n) => n + 2);
  const { url } = await serve(t, stream(ready("1-0") + numbered(...many) + block({ id: "20000-0", data: "last" })));
  let go;
  const reasons = [];
  const { heard, stop } = listen(t, url, {
    load(reason) { reasons.push(reason); return new Promise((resolve) => { go = resolve; }); },
  });
  await until(() => stop.position === "20000-0");
  go();
  await until(() => reasons.length === 2);
  go();
  await until(() => heard.length);

  assert.deepEqual([reasons, heard], [["open", "overflow"], ["last"]]);
});

test("after it was stopped, no function is called and nothing is requested", async (t) => {
  const { url, requests } = await serve(t, stream(ready("1-0") + numbered(2, 3), { open: false }));
  const heard = [];
  const stop = subscribe(url, { message(data) { heard.push(data); stop.close(); }, state: (state) => heard.push(state) });
  await until(() => heard.includes(2));
  await pause(200);

  assert.deepEqual(heard, ["connecting", "live", 2]);
  assert.equal(requests.length, 1);
});

test("Source is like an EventSource that keeps its id, and ends without an error", async (t) => {
  const { url, requests } = await serve(t,
    stream(ready("1-0") + numbered(2) + "event: card\ndata: <p>\n\n", { open: false }),
    status(502),
    stream(ready("2-0") + block({ id: "2-0.end", event: "end" })),
  );
  const seen = [];
  const source = new Source(url);
  const note = (event) => seen.push([event.type, event.data, event.lastEventId, source.readyState]);
  source.onopen = source.onmessage = source.onerror = note;
  for (const name of ["card", "end"]) source.addEventListener(name, note);
  await until(() => source.readyState === source.CLOSED);

  assert.deepEqual(seen, [
    ["open", undefined, undefined, 1],
    ["message", "2", "2-0", 1],
    ["card", "<p>", "2-0", 1],
    ["error", undefined, undefined, 0],
    ["error", undefined, undefined, 0],
    ["open", undefined, undefined, 1],
    ["end", "{}", "2-0.end", 1],
  ]);
  assert.deepEqual(requests.map(query), [null, "2-0", "2-0"]);
});
