"""A page for each library that swaps HTML; every page shows the cards that there are."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flask import Flask, render_template_string
from markupsafe import Markup

from flask_redis_events import Position, RedisEvents

events = RedisEvents()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("TEST")
    app.static_folder = app.config.get("STATIC")
    events.init_app(app)

    @app.get("/page/<library>")
    def page(library: str) -> str:
        """Read the position first, and then the state, which is the cards emitted up to here."""
        position = events.position()
        until = Position.parse(str(position))
        texts = [e.data for e in events.history("state", limit=1000) if _is_before(e.id, until)]
        return render_template_string(
            HEAD + PAGES[library],
            position=position,
            cards=Markup("").join(Markup(text) for text in texts),
            number=time.time_ns(),
        )

    @app.get("/stream")
    @events.stream("cards")
    def stream() -> Callable[..., Any]:
        """Stream the cards, until a message is false."""
        return lambda channel, message, event: message

    @app.get("/touched")
    def touched() -> str:
        """What a page loads when it is told that something has changed."""
        return f'<b id="shown">{time.time_ns()}</b>'

    return app


def _is_before(id: str, position: Position | None) -> bool:
    found = Position.parse(id)
    return found is not None and position is not None and found <= position


HEAD = """<!doctype html><title>cards</title><body data-number="{{ number }}">"""

PAGES = {
    # In htmx 2 an element below the source listens to it.
    "htmx-2": """<script src="/static/htmx-2.min.js"></script>
<script src="/static/htmx-ext-sse.min.js"></script>
<main {{ events.htmx("stream", since=position) }}>
<ul id="cards" sse-swap="message" hx-swap="beforeend">{{ cards }}</ul>
<p id="touched" hx-get="/touched" hx-trigger="sse:refresh" hx-swap="innerHTML"></p>
<form><button type="reset" id="form"></button></form>
</main>""",
    "htmx-4": """<script src="/static/htmx-4.min.js"></script>
<script src="/static/hx-sse.min.js"></script>
<main id="board" {{ events.htmx("stream", since=position) }} hx-target="#cards" hx-swap="beforeend">
<ul id="cards">{{ cards }}</ul>
<p id="touched" hx-get="/touched" hx-trigger="refresh from:#board" hx-target="this"
  hx-swap="innerHTML"></p>
<form><button type="reset" id="form"></button></form>
</main>""",
    "turbo": """<script src="/static/turbo-umd.js"></script>
<turbo-stream-source {{ events.turbo("stream", since=position) }}></turbo-stream-source>
<ul id="cards">{{ cards }}</ul>
<form><button type="reset" id="form"></button></form>""",
    "datastar": """<script type="module" src="/static/datastar.js"></script>
<main {{ events.datastar("stream", since=position) }}>
<ul id="cards">{{ cards }}</ul>
<p id="touched" data-effect="$_refresh && @get('/touched')"><b id="shown"></b></p>
<form><button type="reset" id="form"></button></form>
</main>""",
}
