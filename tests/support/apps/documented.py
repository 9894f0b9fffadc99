"""Pages with the JavaScript of the documentation, and the streams that it opens."""

from __future__ import annotations

from flask import Flask, render_template_string

from flask_redis_events import RedisEvents
from tests.docs.blocks import blocks

events = RedisEvents()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env("TEST")
    events.init_app(app)

    @app.get("/page/<int:line>/<path:page>")
    def page(line: int, page: str) -> str:
        """A page whose script is the block at this line."""
        [text] = [block.text for block in blocks(page) if block.line == line]
        return render_template_string(PAGE, text=text.replace("https://events.shop.example", ""))

    @app.route("/stream", defaults={"name": ""})
    @app.route("/stream/<path:name>", methods=["GET", "POST"])
    @events.stream("documented")
    def stream(name: str) -> None:
        """Every event of the test."""

    @app.get("/answers/<int:id>/stream")
    @events.stream("answer:{id}", backlog="all")
    def answer(id: int) -> None:
        """A run."""

    return app


#: What a block leaves to its reader is a function that notes its call, or a value.
PAGE = """<!doctype html><body>{{ events.importmap() }}
<script>
  const called = [], failed = [];
  addEventListener("error", (event) => failed.push(event.message));
  addEventListener("unhandledrejection", (event) => failed.push(String(event.reason)));
  const names = "show showAll updateOrders updatePayments loadOrders hide clear done token" +
    " renewToken";
  for (const name of names.split(" ")) window[name] = () => called.push(name);
  const id = 7, question = "Why?", text = document.createElement("p");
</script>
<script type="module">
  import { subscribe } from "flask-redis-events";
  {% if "const source" not in text %}
  const source = new EventSource("/stream/orders?last_event_id=1-0");
  {% endif %}
  {{ text | safe }}
</script>"""
