// A page that shows the orders with each framework, in the way that the documentation shows.

import { createElement, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { createApp, h } from "vue";

import { useOrders as useOrdersOfReact } from "./react.js";
import { orders } from "./svelte.js";
import { useOrders as useOrdersOfVue } from "./vue.js";

function show(name) {
  const element = document.createElement("div");
  element.id = name;
  document.body.append(element);
  return element;
}

function OfReact() {
  const { orders, state } = useOrdersOfReact();
  return JSON.stringify([state, orders]);
}
const root = createRoot(show("react"));
root.render(createElement(StrictMode, null, createElement(OfReact)));

const app = createApp({
  setup() {
    const { orders, state } = useOrdersOfVue();
    return () => h("span", JSON.stringify([state.value, orders.value]));
  },
});
app.mount(show("vue"));

const svelte = show("svelte");
const leave = orders.subscribe((orders) => { svelte.textContent = JSON.stringify(["live", orders]); });

window.shown = () => Object.fromEntries(
  ["react", "vue", "svelte"].map((name) => [name, JSON.parse(document.getElementById(name).textContent || "[]")]),
);
window.leave = () => {
  root.unmount();
  app.unmount();
  leave();
};
