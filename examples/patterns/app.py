"""The patterns on one page: choose one, emit, and see what its streams send, and when."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import Any, NamedTuple

from flask import Flask, abort, render_template
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from examples.layout import layout
from flask_redis_events import RedisEvents

#: For the module's tags; each pattern has its own extension.
events = RedisEvents()


class Button(NamedTuple):
    label: str
    path: str
    values: tuple[Any, ...]


class Pattern(NamedTuple):
    """How the page shows a pattern."""

    buttons: tuple[Button, ...] = ()
    #: Of the streams that it opens side by side.
    queries: tuple[str, ...] = ("",)
    note: str = ""
    config: Mapping[str, Any] = MappingProxyType({})


PATTERNS = {
    "conditional": Pattern(
        tuple(Button(f"Priority {n}", "", ({"priority": n},)) for n in (4, 6, 9)),
        ("", "?priority=8"),
    ),
    "newest": Pattern((Button("One value", "", (0,)), Button("Ten values", "", (*range(1, 11),)))),
    "batches": Pattern(
        (
            Button("Three orders", "/orders", ("a book", "a lamp", "a chair")),
            Button("Eight payments", "/payments", (*range(10, 90, 10),)),
        )
    ),
    "lifetime": Pattern(
        (Button("News", "", ({"text": "Hello"},)),),
        note="On this page it tells of silence every 3 seconds, and ends after 30 seconds.",
        config={"SILENCE": 3.0, "LIFETIME": 30.0},
    ),
    "viewers": Pattern(
        (
            Button("Tea", "", ({"item": "Tea", "euros": 2.5},)),
            Button("Coffee", "", ({"item": "Coffee", "euros": 4.2},)),
        ),
        ("", "?currency=JPY"),
    ),
    "present": Pattern(
        (
            Button("EUR/USD changes", "/EURUSD", (1.17, 1.18, 1.16)),
            Button("EUR/GBP changes", "/EURGBP", (0.87, 0.86)),
        )
    ),
    "polling": Pattern(note="It shows this machine's free space: write a file to see it change."),
}


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the application; `FLASK_REDIS_EVENTS_URL` in the environment says where Redis is."""
    app = Flask(__name__)
    app.config.update(APP_NAME="Patterns")
    app.config.from_prefixed_env()
    app.config.update(config or {})
    events.init_app(app)
    app.register_blueprint(layout)
    modules = {name: import_module(f"{__package__}.{name}") for name in PATTERNS}

    @app.get("/", defaults={"name": "newest"})
    @app.get("/<name>")
    def show(name: str) -> str:
        if name not in PATTERNS:
            abort(404, f"There are the patterns {', '.join(PATTERNS)}.")
        return render_template(
            "pattern.html",
            name=name,
            pattern=PATTERNS[name],
            lines={other: _first_line(module) for other, module in modules.items()},
            source=inspect.getsource(modules[name]),
        )

    # Each pattern stays an application of its own.
    patterns = {
        f"/run/{name}": module.create_app({**PATTERNS[name].config, **(config or {})})
        for name, module in modules.items()
    }
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, patterns)  # type: ignore[method-assign]
    return app


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").partition("\n")[0]
