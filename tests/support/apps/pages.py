"""The streams, and pages that listen to them with the clients that the documentation shows."""

from __future__ import annotations

import itertools
import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask, Response, jsonify, render_template_string, request

from . import streams

DOCS = Path(__file__).resolve().parents[3] / "docs"
CLIENTS = DOCS / "clients"


def create_app() -> Flask:
    app = streams.create_app()
    app.static_folder = app.config.get("STATIC", CLIENTS)
    requests = itertools.count()

    @app.get("/listen")
    def listen() -> str:
        """A page whose client is `?client=`, which listens to `?stream=`."""
        return PAGE % (request.args["client"], json.dumps(request.args["stream"]))

    @app.get("/late/<name>")
    @streams.events.stream("{name}")
    def late(name: str) -> Response | None:
        """Answer the first request as a proxy does while its server is away."""
        return None if next(requests) else Response(status=502)

    @app.get("/everything/<name>")
    @streams.events.stream("{name}", backlog=1000)
    def everything(name: str) -> Callable[..., Any]:
        """Stream all that is kept, until the message is false."""
        return lambda channel, message, event: message

    @app.get("/cards/page/<version>")
    def cards_page(version: str) -> str:
        return render_template_string((CLIENTS / f"htmx-{version}.html").read_text("utf-8"))

    @app.get("/stream/cards")
    @streams.events.stream("cards", backlog=1000)
    def card_changes() -> Callable[..., Any]:
        """Stream the cards, until the message is false."""
        return lambda channel, message, event: message

    @app.get("/cards")
    def cards() -> str:
        return "<li>all cards</li>"

    @app.get("/orders/page")
    def orders_page() -> str:
        """A page with a state and its changes, in functions of the page's own."""
        return ORDERS

    @app.get("/orders/module")
    def orders_with_the_module() -> str:
        return render_template_string(MODULE_ORDERS)

    @app.get("/stream/orders")
    @streams.events.stream("orders")
    def changes() -> None:
        """Stream the orders."""

    @app.get("/orders")
    def orders() -> Response:
        """Return the orders; one more comes in when they have been read."""
        known = [event.data for event in streams.events.history("orders")]
        streams.events.emit("orders", len(known))
        return jsonify(known)

    @app.get("/state/orders")
    def state_of_orders() -> Any:
        """Return the orders and their position; one more comes in when they have been read."""
        position = streams.events.position()
        known = [event.data for event in streams.events.history("orders")]
        streams.events.emit("orders", len(known))
        return {"orders": known, "position": position}

    @app.get("/prices/<client>")
    def prices_page(client: str) -> str:
        """A page with values, by the module's example or the `EventSource` of the documentation."""
        return render_template_string(PRICES, module=client == "module", own=values())

    @app.get("/stream/prices")
    @streams.events.stream("prices", backlog="state")
    def prices() -> None:
        """Stream the prices of now, and their changes."""

    @app.post("/prices")
    def set_price() -> dict[str, str | None]:
        """Emit a price; `null` removes it."""
        symbol, price = request.get_json()
        if price is None:
            return {"id": streams.events.remove("prices", symbol)}
        data = {"symbol": symbol, "price": price}
        return {"id": streams.events.emit("prices", data, key=symbol, keep="latest")}

    @app.get("/stream/board")
    @streams.events.stream("board")
    def board() -> None:
        """Stream what Turbo does with the board."""

    @app.get("/board")
    def board_page() -> str:
        page = '<!doctype html><body><ul id="cards"></ul>'
        return page + '<script type="module" src="/static/turbo.js"></script>'

    @app.get("/frameworks")
    def frameworks() -> str:
        return '<!doctype html><body><script type="module" src="/static/frameworks.js"></script>'

    @app.get("/elsewhere")
    def elsewhere() -> str:
        return "<!doctype html><title>elsewhere</title>"

    allow_origin(app)
    return app


def values() -> str:
    """Return the documentation's `EventSource` for pages that show values."""
    [found] = re.findall(
        r"\n\n(   const source = new EventSource\(\"/stream/prices\"\);\n.*?)\n\n\S",
        (DOCS / "browser.rst").read_text("utf-8"),
        re.DOTALL,
    )
    return textwrap.dedent(found)


def allow_origin(app: Flask) -> None:
    """Add the documentation's hook, for pages that have another name for this host."""
    [hook] = re.findall(
        r"\n   (@app.after_request\n.*?)\n\n\S",
        (DOCS / "browser.rst").read_text("utf-8"),
        re.DOTALL,
    )
    ours = textwrap.dedent(f"   {hook}").replace('"https://shop.example"', "own_origin()")

    def own_origin() -> str:
        return f"http://localhost:{request.environ['SERVER_PORT']}"

    exec(ours, {"app": app, "request": request, "own_origin": own_origin})


PAGE = """<!doctype html><title>listen</title><script type="module">
import { listen } from "/static/%s";
window.got = []; window.resets = [];
window.stop = listen(%s, (data) => got.push(data), (reason) => resets.push(reason));
</script>"""

ORDERS = """<!doctype html><title>state</title><script>
let shown = [];
const showAll = (orders) => { shown = orders; };
const show = (order) => { if (!shown.includes(order)) shown.push(order); };
</script><script src="/static/state.js"></script>"""

MODULE_ORDERS = """<!doctype html><title>state</title>{{ events.importmap() }}<script>
let shown = [], hidden = [];
const showAll = (orders) => { shown = orders; };
const show = (order) => shown.push(order);
const hide = (id) => hidden.push(id);
</script><script type="module" src="/static/orders.js"></script>"""

PRICES = """<!doctype html><title>prices</title><p id="prices"></p>{{ events.importmap() }}
{% if module %}<script type="module" src="/static/values.js"></script>{% else %}<script>
const prices = {};
const draw = () => { document.querySelector("#prices").textContent =
  Object.entries(prices).map(([symbol, price]) => `${symbol} ${price}`).join(", "); };
const clear = () => { Object.keys(prices).forEach((symbol) => delete prices[symbol]); draw(); };
const hide = (symbol) => { delete prices[symbol]; draw(); };
const show = ({ symbol, price }) => { prices[symbol] = price; draw(); };
{{ own|safe }}</script>{% endif %}"""
