import { subscribe } from "flask-redis-events";

export function listen(url, show, load) {
  return subscribe(url, { message: show, reset: load });
}
