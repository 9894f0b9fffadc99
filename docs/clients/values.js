import { subscribe } from "flask-redis-events";

const prices = new Map();

subscribe("/stream/prices", {
  message: (price) => show(prices.set(price.symbol, price)),
  remove: ({ key }) => prices.delete(key) && show(prices),
  reset: () => prices.clear(),
});

function show(values) {
  document.querySelector("#prices").textContent = [...values.values()]
    .map(({ symbol, price }) => `${symbol} ${price}`)
    .join(", ");
}
