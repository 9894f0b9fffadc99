import { subscribe } from "flask-redis-events";
import { useEffect, useState } from "react";

export function useOrders() {
  const [orders, setOrders] = useState([]);
  const [state, setState] = useState("connecting");
  // The effect returns the function that stops the stream.
  useEffect(() => subscribe("/stream/orders", {
    async load() {
      const { orders, position } = await (await fetch("/state/orders")).json();
      setOrders(orders);
      return position;
    },
    message: (order) => setOrders((orders) => [...orders, order]),
    state: (state) => setState(state),
  }), []);
  return { orders, state };
}
