import { subscribe } from "flask-redis-events";

subscribe("/stream/orders", {
  async load() {
    const { orders, position } = await (await fetch("/state/orders")).json();
    showAll(orders);
    return position;
  },
  message: (order) => show(order),
  shipped: ({ id }) => hide(id),
  state: (state) => { document.body.dataset.stream = state; },
});
