// The tabs of this browser tell each other which connection they have, and what was done to it.

const FORGOTTEN = 180_000;  // a hidden tab's timers run once a minute
const AGAIN = 20_000;

/** Return {tell, say, count}; `changed()` is called when the tabs are others, `heard(what)` for what one says. */
export function meetTabs(changed, heard) {
  const me = crypto.randomUUID?.() ?? String(Math.random());
  const others = new Map();
  let channel, connection;

  const send = (message) => channel?.postMessage({ tab: me, connection, ...message });

  function open() {
    channel = new BroadcastChannel("flask-redis-events-demo");
    channel.onmessage = ({ data }) => {
      if (data.gone) others.delete(data.tab);
      else others.set(data.tab, { connection: data.connection, at: Date.now() });
      if (data.asks) send();
      if (data.what) heard(data.what);
      changed();
    };
    send({ asks: true });
  }

  function close() {
    send({ gone: true });
    // A page with an open channel would not get into the back/forward cache.
    channel.close();
    channel = undefined;
    others.clear();
  }

  setInterval(() => {
    for (const [tab, { at }] of others) if (Date.now() - at > FORGOTTEN) others.delete(tab);
    send();
    changed();
  }, AGAIN);
  addEventListener("pagehide", close);
  addEventListener("pageshow", ({ persisted }) => persisted && open());
  open();

  return {
    /** Tell the others which connection this tab has; undefined while it has none. */
    tell(mine) {
      connection = mine;
      send();
    },
    connection: () => connection,
    /** Tell the others of something else. */
    say: (what) => send({ what }),
    /** How many tabs there are, and how many connections they have. */
    count() {
      const all = [connection, ...[...others.values()].map((other) => other.connection)];
      const known = all.filter(Boolean);
      return { tabs: all.length, connections: new Set(known.map(({ pid, port }) => `${pid}:${port}`)).size };
    },
    /** The connection that another tab has; a tab that joins it has not seen it begin. */
    shared: () => [...others.values()].map((other) => other.connection).find(Boolean),
  };
}
