import { subscribe } from "flask-redis-events";

const prices = new Map();

subscribe("/stream/prices", {
  message({ symbol, price }) {
    prices.set(symbol, price);
    show();
  },
  remove({ key }) {
    prices.delete(key);
    show();
  },
  reset() {
    prices.clear();
    show();
  },
});

function show() {
  const all = [...prices].map(([symbol, price]) => `${symbol} ${price}`);
  document.querySelector("#prices").textContent = all.join(", ");
}
