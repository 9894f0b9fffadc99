"""Pages with the package's own module, under a strict Content-Security-Policy."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, abort, render_template_string, request, session

from . import pages, streams

NONCE = "r4nd0m"
POLICY = (
    f"default-src 'none'; script-src 'nonce-{NONCE}'; style-src 'nonce-{NONCE}';"
    " connect-src 'self'; worker-src 'self'"
)


def create_app() -> Flask:
    app = pages.create_app()
    app.secret_key = "a secret of the tests"

    def page(template: str) -> Response:
        options = json.loads(request.args.get("options", "{}"))
        text = render_template_string(HEAD + template, nonce=NONCE, options=options)
        return Response(text, headers={"Content-Security-Policy": POLICY})

    @app.get("/clients/<name>")
    def clients(name: str) -> Response:
        """A page with an `EventSource` and the module, both ways, on `/everything/<name>`."""
        return page(CLIENTS)

    @app.get("/module/<path:stream>")
    def module(stream: str) -> Response:
        """A page that subscribes to a stream, with `?options=`."""
        return page(MODULE)

    @app.get("/element/<path:stream>")
    def element(stream: str) -> Response:
        """A page without JavaScript of its own, with an `<event-stream>`."""
        return page(ELEMENT)

    @app.route("/ask/<name>", methods=["GET", "POST"])
    @streams.events.stream()
    def ask(name: str) -> Any:
        """Stream to requests with a good token what they asked for in their body."""
        if request.headers.get("Authorization") != "Bearer good":
            abort(401)
        return [str((request.get_json() or {})["channel"])]

    @app.get("/login/<user>")
    def login(user: str) -> str:
        session["user"] = user
        return user

    @app.get("/mine")
    @streams.events.stream()
    def mine() -> str:
        return f"user:{session['user']}"

    @app.get("/ticking/<name>")
    @streams.events.stream("{name}", heartbeat=0.3)
    def ticking(name: str) -> Callable[..., Any]:
        return lambda channel, message, event: message

    return app


HEAD = """<!doctype html><title>module</title>{{ events.importmap(nonce=nonce) }}"""

CLIENTS = """
<script type="module" nonce="{{ nonce }}">
import { subscribe } from "flask-redis-events";
const path = location.pathname.replace("/clients/", "/everything/");
const url = (client) => `${path}?client=${client}`;
const make = () => ({ got: [], resets: [], loads: [], readies: 0, state: "" });
window.clients = { native: make(), module: make(), shared: make() };

const source = new EventSource(url("native"));
source.onmessage = ({ data }) => clients.native.got.push(JSON.parse(data));
source.addEventListener("ready", () => clients.native.readies++);
source.addEventListener("reset", ({ data }) => clients.native.resets.push(JSON.parse(data).reason));
source.onerror = () => { if (source.readyState === source.CLOSED) clients.native.state = "ended"; };

for (const name of ["module", "shared"]) {
  const client = clients[name];
  subscribe(url(name), {
    message: (data) => client.got.push(data),
    ready: () => client.readies++,
    reset: ({ reason }) => client.resets.push(reason),
    load: (reason) => { client.loads.push(reason); },
    state: (state) => { client.state = state; },
  }, name === "shared" ? { identity: "ann" } : {});
}
</script>"""

MODULE = """
<script type="module" nonce="{{ nonce }}">
import { subscribe } from "flask-redis-events";
window.got = []; window.resets = []; window.states = []; window.keptAt = null;
window.token = "stale";
addEventListener("pageshow", ({ persisted }) => { if (persisted) keptAt = performance.now(); });
const { token: withToken, ...options } = {{ options|tojson }};
if (withToken) Object.assign(options, {
  method: "POST",
  body: JSON.stringify({ channel: withToken }),
  headers: async () => ({ "Content-Type": "application/json", Authorization: `Bearer ${token}` }),
  refresh: async () => { token = "good"; },
});
window.stop = subscribe(location.pathname.replace("/module", "") + location.search, {
  message: (data) => got.push(data),
  reset: ({ reason }) => resets.push(reason),
  state: (state) => { if (states.at(-1) !== state) states.push(state); },
}, options);
</script>"""

ELEMENT = """{{ events.script(nonce=nonce) }}
<event-stream src="{{ request.path.replace('/element', '') }}"></event-stream>
<script nonce="{{ nonce }}">
window.got = [];
for (const name of ["message", "card", "end"]) {
  document.addEventListener(name, ({ detail }) => got.push([name, detail]));
}
</script>"""
