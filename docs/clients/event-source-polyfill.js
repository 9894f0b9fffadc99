import { EventSourcePolyfill } from "event-source-polyfill";

export function listen(url, show, load, { headers = {} } = {}) {
  const source = new EventSourcePolyfill(url, {
    headers,
    heartbeatTimeout: 45000,  // three times REDIS_EVENTS_HEARTBEAT
  });
  source.onmessage = (event) => show(JSON.parse(event.data));
  source.addEventListener("reset", () => load());
  source.addEventListener("end", () => source.close());
  return () => source.close();
}
