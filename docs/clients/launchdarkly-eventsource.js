import { EventSource } from "launchdarkly-eventsource";

export function listen(url, show, load) {
  const source = new EventSource(url, { readTimeoutMillis: 45000 });
  // Node ends the process at an `error` that nobody listens for.
  source.onerror = (error) => console.warn(error.message);
  source.onmessage = (event) => show(JSON.parse(event.data));
  source.addEventListener("reset", () => load());
  source.addEventListener("end", (event) => {
    // The library has an event of this name, too, at the end of each connection, without data.
    if (event.data) source.close();
  });
  return () => source.close();
}
