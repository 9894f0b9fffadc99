import { EventSource } from "eventsource";

export function listen(url, show, load) {
  const source = new EventSource(url);
  source.onmessage = (event) => show(JSON.parse(event.data));
  source.addEventListener("reset", () => load());
  source.addEventListener("end", () => source.close());
  return () => source.close();
}
