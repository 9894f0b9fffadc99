// Uses of the module that TypeScript accepts, and some that it must refuse.

import { createEventSource, parser, Source, subscribe, type State } from "flask-redis-events";

interface Events {
  message: { order: number };
  card: string;
}

const stop = subscribe<Events>("/stream", {
  message: (data, { id }) => data.order.toFixed() + id.trim(),
  card: (html) => html.trim(),
  reset: ({ reason }) => reason.trim(),
  load: async (reason) => ({ position: reason, orders: [] }),
  state: (state: State, { status, wait }) => [state, status + wait],
}, {
  identity: "ann",
  headers: async () => ({ Authorization: "Bearer x" }),
  refresh: async () => {},
  method: "POST",
  body: "{}",
});
stop();
stop.close();
const state: State = stop.state;
const position: string = stop.position;

// @ts-expect-error: a card is text.
subscribe<Events>("/stream", { card: (html: number) => html });
// @ts-expect-error: there is no such event.
subscribe<Events>("/stream", { cart: () => {} });
// @ts-expect-error: there is no such option.
subscribe("/stream", {}, { header: {} });

// Without a map of events, any name will do, and its data are any.
subscribe(new URL("https://shop.example/stream"), {
  message: (data) => data.anything,
  order: (data, { text }) => [data, text.length],
  load: (reason) => fetch(`/orders?${reason.trim()}`),
  state: (state) => state.trim(),
});

const source: EventTarget = new Source("/stream", { withCredentials: true });
createEventSource("/stream").onmessage = ({ data }) => data.trim();
parser(({ name, text }) => [name, text?.length])("data: x\n\n");
document.querySelector("event-stream")?.addEventListener("order", () => [state, position, source]);
