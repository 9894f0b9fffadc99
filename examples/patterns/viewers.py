"""Each viewer's own form of a message, made once for all of the same language and currency."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, abort, request

from flask_redis_events import RedisEvents

events = RedisEvents()
RATES = {"EUR": 1.0, "GBP": 0.85, "JPY": 160.0}
TEXTS = {
    "en": "{item} costs {price:,.2f} {currency}.",
    "de": "{item} kostet {price:,.2f} {currency}.",
}


def viewer() -> tuple[str, str]:
    """Return whom an event is made for.  What the callback uses of the request must be in here.

    A site with accounts would add `current_user.role`, and never the user: then nobody would share.
    """
    currency = request.args.get("currency", "EUR")
    if currency not in RATES:
        abort(400)
    return request.accept_languages.best_match(TEXTS) or "en", currency


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    app = Flask(__name__)
    app.config.from_prefixed_env()
    app.config.update(config or {})
    events.init_app(app)
    renderings = itertools.count(1)

    @app.post("/emit")
    def emit() -> Any:
        return {"id": events.emit("offers", request.get_json())}

    @app.get("/stream")
    @events.stream("offers", shared=viewer)
    def stream() -> Callable[..., Any]:
        """Render each offer once for each key and worker, however many viewers there are."""
        language, currency = viewer()

        def on_message(channel: str, offer: Any, event: Any) -> Any:
            price = offer["euros"] * RATES[currency]
            text = TEXTS[language].format(item=offer["item"], price=price, currency=currency)
            return {"text": text, "rendering": next(renderings)}

        return on_message

    return app
