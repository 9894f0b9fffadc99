import { subscribe } from "flask-redis-events";
import { onScopeDispose, ref } from "vue";

export function useOrders() {
  const orders = ref([]), state = ref("connecting");
  const stop = subscribe("/stream/orders", {
    async load() {
      const { orders: loaded, position } = await (await fetch("/state/orders")).json();
      orders.value = loaded;
      return position;
    },
    message: (order) => orders.value.push(order),
    state: (now) => { state.value = now; },
  });
  onScopeDispose(stop);
  return { orders, state };
}
