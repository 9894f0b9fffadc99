/**
 * The page's side of Flask-Redis-Events.  From the bottom up:
 *
 *   parser     the text of a stream becomes blocks
 *   connect    one request at a time: it comes back where it was, and knows why it does not
 *   share      the same, by way of a SharedWorker that has one connection for all tabs
 *   attach     the same, for a page that may be hidden, offline, or in the back/forward cache
 *   subscribe  a page's functions, and the state that its events build on
 *
 * A block is {name, id, text}.  Its id is a position: it orders all events, and a request that sends
 * it gets what came after.  Times are in milliseconds, those of options in seconds.
 */

/** The server's own events, which speak of the stream itself. */
const CONTROL = ["ready", "heartbeat", "reset", "reconnect", "end"];
/** How long a stream may be silent that has not said how often its heart beats. */
const SILENCE = 40_000;
const LONGEST_WAIT = 30_000;
/** The time between two questions of the worker to its tabs, and between two signs of life of either. */
const PING = 15_000;
const LOST = 45_000;
/** How long a tab waits for the worker to answer at all. */
const HANDSHAKE = 10_000;
/** How many events wait for `load()`; if there are more, it is called once more instead. */
const MOST_HELD = 10_000;

const backoff = (base, attempt) =>
  Math.min(Math.max(base, LONGEST_WAIT), base * 2 ** attempt) * (0.25 + 0.75 * Math.random());

/** setTimeout would take a longer time for none. */
const later = (action, wait) => setTimeout(action, Math.min(wait, 2 ** 31 - 1));

/** An error of the page's code is shown as any other of the page, and the stream goes on. */
const report = (error) => (globalThis.reportError ?? console.error)(error);

function safely(action) {
  try {
    action();
  } catch (error) {
    report(error);
  }
}

const valueOf = (option) => (typeof option === "function" ? option() : option);

function decode(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;  // raw data, an HTML fragment for example
  }
}

/** Whether position `a` comes after `b`; undefined if one of them is no position of this server. */
function isAfter(a, b) {
  const parts = [a, b].map((id) => /^(\d+)-(\d+)$/.exec(id)?.slice(1).map(Number));
  if (!parts[0] || !parts[1]) return undefined;
  const [[time, count], [otherTime, otherCount]] = parts;
  return time > otherTime || (time === otherTime && count > otherCount);
}

// -- text/event-stream ---------------------------------------------------------------------------

/**
 * Return a function that takes the text of a stream in pieces, wherever it was cut.
 *
 * `hear(block)` gets each block; its text is undefined where the block has no data, which then only
 * moves the position.  `retry(milliseconds)` gets the time that a client should wait.
 */
export function parser(hear, retry = () => {}) {
  let rest = "", cut = false, block = {};

  function take(line) {
    if (!line) {
      const { name, id, data } = block;
      block = {};
      if (data || id !== undefined) hear({ name: name || "message", id, text: data?.join("\n") });
      return;
    }
    const [, field, value = ""] = /^([^:]*)(?:: ?([^]*))?$/.exec(line);
    if (field === "data") (block.data ??= []).push(value);
    else if (field === "event") block.name = value;
    else if (field === "id" && !value.includes("\0")) block.id = value;
    else if (field === "retry" && /^\d+$/.test(value)) retry(Number(value));
  }

  return (text) => {
    // A CR ends its line at once, so the LF of a CRLF may come alone.
    if (cut && text[0] === "\n") text = text.slice(1);
    else if (!text) return;
    cut = text.endsWith("\r");
    const lines = text.split(/\r\n|\n|\r/);
    lines[0] = rest + lines[0];
    rest = lines.pop();
    lines.forEach(take);
  };
}

// -- one connection ------------------------------------------------------------------------------

/**
 * Return {open, wake, close} of a stream that begins after the position `sink.id`, and moves it.
 *
 * `sink.hear(block, before)` gets what arrives, and the position before it; `sink.say(state, detail)`
 * is told how the stream is.  This is fetch and not EventSource, because that one hides the status,
 * gives up after any but 200, sends no headers, loses its position when it is made anew, and in
 * WebKit revives after the page has closed it.
 */
function connect(url, options, sink) {
  let current, timer, attempt = 0, retry = 3_000, asked = false, refreshed = false;
  let live = false, openedAt = 0, aliveAt = 0, notBefore = 0, silence = options.silence * 1_000 || SILENCE;

  /** Open the stream; a connection that is open no longer counts. */
  async function open() {
    close();
    const mine = (current = new AbortController());
    asked = false;
    openedAt = aliveAt = Date.now();
    look();
    let failure;
    try {
      const response = await request(mine.signal);
      if (current === mine && (await accept(response, mine))) await read(response.body, mine);
    } catch (error) {
      failure = error;  // of the network, or of a function of the page that fetches a token
    }
    if (current === mine) lose(0, null, failure);
  }

  async function request(signal) {
    const { method, credentials, fetch = globalThis.fetch } = options;
    const target = new URL(url);
    const headers = new Headers(await valueOf(options.headers));
    headers.set("Accept", "text/event-stream");
    if (sink.id && target.origin === globalThis.location?.origin) {
      // A header's characters are bytes.
      headers.set("Last-Event-ID", String.fromCharCode(...new TextEncoder().encode(sink.id)));
    } else if (sink.id) {
      // Another origin would first be asked whether it allows the header.
      target.searchParams.delete("lastEventId");
      target.searchParams.set("last_event_id", sink.id);
    }
    const body = await valueOf(options.body);
    return fetch(target, { method, headers, body, credentials, signal, cache: "no-store" });
  }

  /** Return whether the answer is the stream; if it is not, decide how to go on. */
  async function accept({ status, redirected, headers }, mine) {
    if (status === 200 && /^text\/event-stream *(;|$)/i.test(headers.get("Content-Type"))) return true;
    if (status === 204) {
      finish("ended", status);
    } else if (status === 401 && options.refresh && !refreshed) {
      await options.refresh();
      refreshed = true;
      if (current === mine) open();
    } else if (status === 401 || status === 403 || (redirected && status < 400)) {
      finish("refused", status);  // a redirect leads to a login page
    } else {
      lose(status, headers.get("Retry-After"));
    }
    return false;
  }

  async function read(body, mine) {
    // TextDecoder keeps the bytes of a character that has been cut, and drops a byte order mark.
    const reader = body.getReader(), decoder = new TextDecoder();
    const feed = parser(
      (block) => current === mine && hear(block),
      (milliseconds) => { retry = milliseconds; },
    );
    for (;;) {
      const { done, value } = await reader.read();
      if (done || current !== mine) return;
      aliveAt = Date.now();
      feed(decoder.decode(value, { stream: true }));
    }
  }

  function hear(block) {
    const before = sink.id;
    sink.id = block.id ?? before;
    if (block.text === undefined) return;
    if (block.name === "reconnect") {
      asked = true;
    } else if (block.name !== "end") {
      // Only now is it known that the server has room for this stream.
      attempt = 0;
      refreshed = false;
      if (!live) sink.say("live", { status: 200, wait: 0 });
      live = true;
    }
    if (block.name === "ready" && !options.silence) {
      silence = decode(block.text).heartbeat * 2_500 || SILENCE;
      clearTimeout(timer);
      look();
    }
    sink.hear(block, before);
    if (block.name === "end") finish("ended", 200);
  }

  /** Look whether the stream is silent: then it is dead, even if the browser has not been told. */
  function look() {
    const left = aliveAt + silence - Date.now();
    if (left > 0) timer = later(look, left);
    else lose();
  }

  function lose(status = 0, retryAfter = null, error = undefined) {
    close();
    // A server that has asked for it has spread its clients' returns already.
    let wait = asked ? retry : backoff(retry, attempt++);
    const told = Number(retryAfter) * 1_000 || Date.parse(retryAfter) - Date.now();
    if (told > 0) {
      notBefore = Date.now() + told;
      wait = Math.max(wait, told);
    }
    timer = later(open, wait);
    live = false;
    sink.say("away", { status, wait, error });
  }

  /** Come back at once, if the stream is away or seems dead; `surely` if the network has changed. */
  function wake(surely) {
    const now = Date.now();
    // Each tab tells the worker of the same change.
    const dead = surely ? now - openedAt > 1_000 : now - aliveAt > silence * 0.6;
    if (current ? dead : timer && now >= notBefore) open();
  }

  function finish(state, status) {
    close();
    sink.say(state, { status, wait: 0 });
  }

  function close() {
    clearTimeout(timer);
    timer = undefined;
    current?.abort();
    current = undefined;
  }

  return { open, wake, close };
}

// -- one connection for all tabs -----------------------------------------------------------------

/**
 * Return the same for a stream that the worker has; `fail()` is called once if there is no worker.
 *
 * No Web Lock is held and no channel is open while the page is away, so that the browser may keep
 * the page in its back/forward cache.
 */
function share(url, { identity, credentials, silence }, sink, fail) {
  let port, timer;

  function open() {
    close();
    try {
      // A bundler finds the worker by this very form.
      const worker = new SharedWorker(new URL("./redis-events.js", import.meta.url), { type: "module" });
      const mine = (port = worker.port);
      worker.onerror = () => port === mine && fail();
    } catch {
      fail();  // the module comes from another origin, or a policy forbids workers
      return;
    }
    port.onmessage = ({ data: { block, state } }) => {
      expect(open, LOST);
      if (block) {
        const before = sink.id;
        sink.id = block.id ?? before;
        sink.hear(block, before);
      } else if (state) {
        sink.say(...state);
      } else {
        tell({});
      }
    };
    tell({ join: [identity, url, credentials, silence], from: sink.id });
    expect(fail, HANDSHAKE);
  }

  /** Expect a message of the worker, which may have died. */
  function expect(otherwise, patience) {
    clearTimeout(timer);
    if (port) timer = setTimeout(otherwise, patience);
  }

  const tell = (message) => port?.postMessage(message);
  const wake = (surely) => tell({ wake: true, surely });

  function close() {
    if (port) port.onmessage = null;
    tell({ leave: true });
    port?.close();
    port = undefined;
    clearTimeout(timer);
  }

  return { open, wake, close };
}

/** The worker: a stream for each identity and URL, and the tabs that listen to it. */
function serve() {
  const streams = new Map();

  function makeStream(key, [, url, credentials, silence]) {
    const tabs = new Set();
    let head = "", state = ["connecting", { status: 0, wait: 0 }];

    const sink = {
      id: "",
      hear(block, before) {
        const { name, id } = block;
        if (CONTROL.includes(name) && isAfter(before, id)) {
          // Positions begin anew: Redis' clock went back.
          head = "";
          for (const tab of tabs) tab.floor = tab.id = "";
        }
        if (id !== undefined && isAfter(id, head) !== false) head = id;
        // The stream began without a position, and a tab that has one came meanwhile.
        const late = name === "ready" && !before && isAfter(id, oldest());
        for (const tab of tabs) {
          if (name === "ready") {
            // It moves no tab back, and is told even one that has come so far.
            if (!late || !tab.id) give(tab, { ...block, id: tab.id || id });
          } else if (isAfter(id, tab.floor) !== false) {
            give(tab, block);
          }
          // Else the stream was opened further back for another tab, and this one has had the block.
        }
        if (late) goBack();
      },
      say(...now) {
        state = now;
        for (const tab of tabs) tab.port.postMessage({ state });
        if (state[0] === "ended" || state[0] === "refused") streams.delete(key);
      },
    };
    const connection = connect(url, { credentials, silence }, sink);

    const oldest = () =>
      [...tabs].reduce((found, { id }) => (!found || isAfter(found, id) ? id || found : found), "");

    function give(tab, block) {
      tab.id = block.id ?? tab.id;
      tab.port.postMessage({ block });
    }

    /** Open the stream where the last of its tabs is. */
    function goBack() {
      for (const tab of tabs) tab.floor = tab.id;
      sink.id = oldest();
      connection.open();
    }

    function join(tab, from) {
      tab.id = tab.floor = from || head;
      tabs.add(tab);
      tab.port.postMessage({ state });
      if (tabs.size === 1 || isAfter(head, tab.id)) {
        goBack();
      } else if (state[0] === "live") {
        const data = tab.id ? { id: tab.id } : {};
        give(tab, { ...data, name: "ready", text: JSON.stringify(data) });
      } else {
        connection.wake();
      }
    }

    function leave(tab) {
      tabs.delete(tab);
      if (tabs.size) return;
      connection.close();
      if (streams.get(key) === stream) streams.delete(key);
    }

    const stream = { join, leave, wake: connection.wake };
    return stream;
  }

  globalThis.onconnect = ({ ports: [port] }) => {
    const tab = { port, id: "", floor: "" };
    let heardAt = Date.now(), stream;
    const pinging = setInterval(() => {
      // The tab has crashed, or the browser has frozen it; when it wakes, it joins anew.
      if (Date.now() - heardAt > LOST) leave();
      else port.postMessage({});
    }, PING);

    function leave() {
      clearInterval(pinging);
      stream?.leave(tab);
      port.close();
    }

    port.onmessage = ({ data: { join, from, wake, surely, leave: leaving } }) => {
      heardAt = Date.now();
      if (join) {
        const key = JSON.stringify(join);
        if (!streams.has(key)) streams.set(key, makeStream(key, join));
        stream = streams.get(key);
        stream.join(tab, from);
      }
      if (wake) stream?.wake(surely);
      if (leaving) leave();
    };
  };
}

if (globalThis.SharedWorkerGlobalScope) serve();

// -- a page --------------------------------------------------------------------------------------

/** Return {close, begin, id} of a stream that follows the life of the page. */
function attach(url, options, { hear, say }) {
  const target = new URL(url, globalThis.document?.baseURI), given = target.searchParams;
  // Functions do not cross to a worker.
  const own = ["method", "headers", "body", "refresh", "fetch"].some((name) => options[name]);
  const shared = options.identity !== undefined && !own && globalThis.SharedWorker;
  const listening = new AbortController();

  const sink = {
    id: options.since || given.get("lastEventId") || given.get("last_event_id") || "",
    hear,
    say(state, detail) {
      if (state === "ended" || state === "refused") close();
      say(state, detail);
    },
  };
  let connection = (shared ? share : connect)(target.href, options, sink, () => {
    connection.close();
    connection = connect(target.href, options, sink);
    connection.open();
  });

  const on = {
    online: () => connection.wake(true),
    visibilitychange: () => document.visibilityState === "visible" && connection.wake(),
    // A page in the back/forward cache would keep its stream open, and nobody would read it.
    pagehide: () => connection.close(),
    pageshow: ({ persisted }) => (persisted ? connection.open() : connection.wake()),
  };
  for (const [name, action] of Object.entries(on)) {
    globalThis.addEventListener?.(name, action, { signal: listening.signal });
  }

  function close() {
    listening.abort();
    connection.close();
  }

  /** Begin after another position. */
  function begin(position) {
    sink.id = position;
    connection.open();
  }

  connection.open();
  return { close, begin, get id() { return sink.id; } };
}

/**
 * Listen to a stream, and return a function that stops it.
 *
 * `handlers`: a function `(data, event)` for each event name, `message` for events without one;
 * `load(reason)`, which fetches the state that the events build on; `state(name, detail)`.
 */
export function subscribe(url, handlers = {}, options = {}) {
  let state = "connecting", floor = "", loading = false, again = "", held = [], over = false;
  const parse = options.parse ?? decode;

  const stop = () => {
    over = true;
    held = [];
    stream.close();
  };

  function call(name, ...given) {
    if (over || !Object.hasOwn(handlers, name)) return undefined;
    return handlers[name](...given);
  }

  /** Do what belongs after the page's state: at once, or when it has been loaded. */
  function inOrder(action) {
    if (!loading) {
      safely(action);
    } else if (held.push(action) > MOST_HELD) {
      held = [];
      again = "overflow";
    }
  }

  function deliver({ name, id = "", text }) {
    if (id && floor && isAfter(id, floor) === false) return;
    if (name === "load" || name === "state") return;
    call(name, parse(text, name), { name, id, text });
  }

  async function load(reason) {
    again = reason;
    if (loading || !handlers.load) return;
    loading = true;
    for (let failures = 0; again && !over; ) {
      reason = again;
      again = "";
      try {
        const got = await call("load", reason);
        floor = (typeof got === "string" ? got : got?.position) || "";
        if (floor && !stream.id && state !== "live") stream.begin(floor);
        failures = 0;
      } catch (error) {
        report(error);
        again ||= reason;
        await new Promise((resolve) => setTimeout(resolve, backoff(1_000, failures++)));
      }
    }
    loading = false;
    held.splice(0).forEach(safely);
  }

  const stream = attach(url, options, {
    hear(block, before) {
      const { name, text } = block;
      if (name === "reset") {
        floor = "";
        load(decode(text).reason);
      }
      // Where nothing was resumed, events may be missing: it is the beginning, or there are no ids.
      if (name === "ready" && !before) load("open");
      const deliverNow = CONTROL.includes(name) && name !== "end";
      (deliverNow ? safely : inOrder)(() => deliver(block));
    },
    say(name, detail) {
      // Each failure is told, with the time until the next try.
      if (name === state && name !== "away") return;
      const tell = () => call("state", (state = name), detail);
      // The page can show its state while there is no stream to go on from there.
      if (name === "away" && state === "connecting" && !stream.id) load("away");
      if (name === "ended") inOrder(tell);
      else safely(tell);
    },
  });
  safely(() => call("state", state, { status: 0, wait: 0 }));
  return Object.defineProperties(stop, {
    close: { value: stop },
    state: { get: () => state },
    position: { get: () => stream.id },
  });
}

// -- for code that wants an EventSource, and for pages without code --------------------------------

/** A source like EventSource for htmx, Turbo and others: it comes back by itself, where it was. */
export class Source extends EventTarget {
  CONNECTING = 0;
  OPEN = 1;
  CLOSED = 2;
  readyState = 0;
  #stream;

  constructor(url, options = {}) {
    super();
    this.url = String(new URL(url, globalThis.document?.baseURI));
    this.withCredentials = options.withCredentials ?? false;
    const { origin } = new URL(this.url);
    const credentials = this.withCredentials ? "include" : "same-origin";
    this.#stream = attach(url, { credentials, ...options }, {
      hear: ({ name, text, id }, before) =>
        this.#fire(new MessageEvent(name, { data: text, lastEventId: id ?? before, origin })),
      say: (state) => {
        const opens = state === "live" && !this.readyState;
        this.readyState = { connecting: 0, away: 0, live: 1 }[state] ?? 2;
        if (opens) this.#fire(new Event("open"));
        // None after `end`, because libraries open a new source after an error of a closed one.
        if (state === "away" || state === "refused") this.#fire(new Event("error"));
      },
    });
  }

  #fire(event) {
    safely(() => this[`on${event.type}`]?.(event));
    this.dispatchEvent(event);
  }

  close() {
    this.readyState = 2;
    this.#stream.close();
  }
}

/** htmx 2: `htmx.createEventSource = createEventSource`. */
export const createEventSource = (url) => new Source(url, { withCredentials: true });

/** <event-stream src>: it dispatches each event under its name, and has the attribute `state`. */
class EventStream extends (globalThis.HTMLElement ?? Object) {
  static observedAttributes = ["src", "identity"];
  #stream;

  connectedCallback() {
    this.#open(this.#stream?.id);
  }

  disconnectedCallback() {
    this.#stream?.close();
  }

  attributeChangedCallback() {
    if (!this.#stream) return;
    this.#stream.close();
    this.#stream = undefined;
    if (this.isConnected) this.#open();
  }

  #open(since) {
    const src = this.getAttribute("src"), identity = this.getAttribute("identity") ?? undefined;
    if (src === null) return;
    this.setAttribute("state", "connecting");
    this.#stream = attach(src, { identity, since }, {
      hear: ({ name, text }) => this.dispatchEvent(
        // A form would take a `reset` that bubbles for its own.
        new CustomEvent(name, { detail: decode(text), bubbles: !CONTROL.includes(name) }),
      ),
      say: (state) => this.setAttribute("state", state),
    });
  }
}

if (globalThis.customElements && !customElements.get("event-stream")) {
  customElements.define("event-stream", EventStream);
}
