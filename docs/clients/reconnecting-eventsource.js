import ReconnectingEventSource from "reconnecting-eventsource";

export function listen(url, show, load) {
  const source = new ReconnectingEventSource(url);
  // It keeps the ids of those events only that it has a listener for; `onmessage` is none.
  source.addEventListener("message", (event) => show(JSON.parse(event.data)));
  source.addEventListener("ready", () => {});
  source.addEventListener("heartbeat", () => {});
  source.addEventListener("reset", () => load());
  // Otherwise it would ask again and again, and get a 204 each time.
  source.addEventListener("end", () => source.close());
  return () => source.close();
}
