import { fetchEventSource } from "@microsoft/fetch-event-source";

class Over extends Error {}

export function listen(url, show, load) {
  const control = new AbortController();
  fetchEventSource(url, {
    signal: control.signal,
    async onopen({ status }) {
      if ([204, 401, 403].includes(status)) throw new Over(`The server answered ${status}.`);
      if (status !== 200) throw new Error(`The server answered ${status}.`);
    },
    onmessage({ event, data }) {
      // Control events arrive here, too; an event without a name has the name "".
      if (event === "" && data) show(JSON.parse(data));
      if (event === "reset") load();
      if (event === "end") control.abort();
    },
    onclose() {
      // After `reconnect`.  Without an error the library would not come back.
      throw new Error("The server closed the stream.");
    },
    onerror(error) {
      // An error that is thrown here ends it; after any other it comes back.
      if (error instanceof Over) throw error;
    },
  }).catch((error) => console.warn(error.message));
  return () => control.abort();
}
