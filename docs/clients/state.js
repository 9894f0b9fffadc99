const source = new EventSource("/stream/orders");
let waiting = [];  // messages that wait for the state; null while the state is there

async function load() {
  const mine = waiting = [];
  const orders = await (await fetch("/orders")).json();
  if (waiting !== mine) return;  // another load began meanwhile
  waiting = null;
  showAll(orders);
  mine.forEach(show);
}

source.addEventListener("ready", load, { once: true });
source.addEventListener("reset", load);
source.onmessage = (event) => {
  const order = JSON.parse(event.data);
  waiting ? waiting.push(order) : show(order);
};
