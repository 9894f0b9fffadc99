// Calls onMessage(data, event) for each message, and onReset(reason) where some are missing.
// Returns a function that stops it.  Without any sign of life for `silence` seconds it opens a
// new stream: take a little more than twice REDIS_EVENTS_HEARTBEAT.
export function listen(url, onMessage, onReset, { names = [], silence = 40, again = 10 } = {}) {
  let source = null, aliveAt, lastId = "", over = false;

  function open() {
    const target = new URL(url, location.href);
    // A new EventSource sends no Last-Event-ID of its own.
    if (lastId) target.searchParams.set("last_event_id", lastId);
    source = new EventSource(target);
    aliveAt = Date.now();
    const on = (name, handle) => source.addEventListener(name, (event) => {
      // Safari revives a closed source when the page comes back from the back/forward cache.
      if (event.target !== source) return event.target.close();
      aliveAt = Date.now();
      lastId = event.lastEventId || lastId;
      handle?.(event);
    });
    for (const name of ["ready", "heartbeat", "reconnect", "error"]) on(name);
    for (const name of ["message", ...names]) on(name, (event) => onMessage(JSON.parse(event.data), event));
    on("reset", (event) => onReset(JSON.parse(event.data).reason));
    on("end", stop);
  }

  function close() {
    source?.close();
    source = null;
  }

  function look() {
    const patience = source?.readyState === EventSource.CLOSED ? again : silence;
    if (!source || Date.now() - aliveAt < patience * 1000) return;
    close();
    open();
  }

  function stop() {
    over = true;
    clearInterval(timer);
    close();
  }

  // A page in the back/forward cache would keep its stream open, and nobody would read it.
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => {
    if (event.persisted && !over) open();
  });

  open();
  const timer = setInterval(look, 1000);
  return stop;
}
