import { subscribe } from "flask-redis-events";
import { readable } from "svelte/store";

// The stream is open while the store has subscribers: `$orders` in a component.
export const orders = readable([], (set, update) => subscribe("/stream/orders", {
  async load() {
    const { orders, position } = await (await fetch("/state/orders")).json();
    set(orders);
    return position;
  },
  message: (order) => update((orders) => [...orders, order]),
}));
