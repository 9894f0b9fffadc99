"""Whatever a client sends, an example answers: with what was asked for, or with a clear 4xx."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from rq import Queue
from werkzeug.routing import Rule
from werkzeug.wrappers import Response

from examples.accounts import db
from tests.support.postgres import Postgres
from tests.support.postgres import postgres as postgres
from tests.support.servers import RedisServer

from .conftest import JSON, MakeApp, user

#: Parts of paths, values of queries, and fields of forms.
TEXTS = {
    "empty": "",
    "dots": "../..",
    "pattern": "*",
    "NUL": "\0",
    "lines": "a\r\nSet-Cookie: x=y",
    "emoji": "\N{GRINNING FACE}\u202e",
    "huge number": "9" * 31,
    "negative": "-1",
    "largest": str(2**31 - 1),
    "too large": str(2**31),
    "script": "<script>'\"{{7*7}}",
    "long": "x" * 50_000,
    "of another": "foreign",
}
#: Values of a body's field, as JSON.  Python itself would not write some of them.
VALUES = {
    "null": "null",
    "truth": "true",
    "fraction": "64.5",
    "NaN": "NaN",
    "infinity": "1e999",
    "huge number": "9" * 5000,
    "surrogate": '"\\ud800"',
    "surrogate inside": '{"\\udfff": ["\\ud800"]}',
    "NUL": '"a\\u0000b"',
    "blank": '"\\u2003"',
    "list": '["a"]',
    "object": '{"a": {"b": null}}',
    "deep": "[" * 100_000 + "]" * 100_000,
    "megabyte": json.dumps("x" * 1_000_000),
}
#: The fields that queries, forms and bodies of the examples have.
FIELDS = ("broken", "megabytes", "metric", "name", "next", "password", "question", "room", "to")
BROKEN = {"nothing": b"", "bytes": b"\xff\xfe", "half": b"{", "mark": b"\xef\xbb\xbf{}"}
#: Files, and those of the package.
FILES = re.compile(r"redis_events|.*static$")
APPS = ("notifications", "chat", "jobs", "dashboard", "assistant", "patterns")


@pytest.fixture(params=[*APPS, "notifications on PostgreSQL"])
def app(
    request: pytest.FixtureRequest, make_app: MakeApp, redis_server: RedisServer, prefix: str
) -> Iterator[Flask]:
    name, _, on = request.param.partition(" on ")
    config = {"REDIS_EVENTS_URL": redis_server.url, "REDIS_EVENTS_PREFIX": prefix}
    if on:
        postgres: Postgres = request.getfixturevalue("postgres")
        config["SQLALCHEMY_DATABASE_URI"] = postgres.url
    # An exception is to become a 500, as in production.
    app = make_app(name, **config, TESTING=False)
    app.logger.disabled = True
    yield app
    if queue := app.extensions.get("queue"):
        queue.delete()
        queue.connection.close()
    if on:
        with app.app_context():
            db.drop_all()


def requests(rule: Rule, method: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield hostile requests for a route: what is hostile in it, and the client's arguments."""
    plain = path(rule)
    for name, text in TEXTS.items():
        for part in rule.arguments:
            yield f"{part}: {name}", {"path": path(rule, part, text)}
        yield (
            f"query: {name}",
            {"path": plain, "query_string": dict.fromkeys((*FIELDS, "last_event_id"), text)},
        )
        yield f"form: {name}", {"path": plain, "data": dict.fromkeys((*FIELDS, "text"), text)}
        yield f"id: {name}", {"path": plain, "headers": {"Last-Event-ID": quote(text[:99])}}
    bodies = {name: value.encode() for name, value in VALUES.items()} | BROKEN
    for name, value in VALUES.items():
        bodies[f"{name} everywhere"] = _object(dict.fromkeys((*FIELDS, "text"), value))
        good = {"to": '"ada"', "megabytes": "64"}
        bodies[f"{name} in a good one"] = _object({**good, "text": value, "broken": value})
    for name, body in bodies.items() if method == "POST" else ():
        yield f"JSON: {name}", {"path": plain, "data": body, "content_type": "application/json"}


def _object(fields: dict[str, str]) -> bytes:
    written = ", ".join(f'"{name}": {value}' for name, value in fields.items())
    return f"{{{written}}}".encode()


def path(rule: Rule, hostile: str = "", text: str = "") -> str:
    """Return a path of the route, with a text in the hostile part of it."""

    def part(found: re.Match[str]) -> str:
        return quote(text, safe="") if found[1] == hostile else "1"

    return re.sub(r"<(?:[^<>]+:)?(\w+)>", part, rule.rule)


def fault(response: Response) -> str | None:
    """Return why an answer is not a good one, if it is not."""
    status, text = response.status_code, response.get_data(as_text=True)
    if status < 400 or (status < 500 and re.search('"error"|role="alert"', text)):
        return None
    return f"{status} {text:.200}"


def test_what_is_hostile_is_refused(app: Flask):
    """No route fails, whoever asks; each refusal says why."""
    clients = {"nobody": app.test_client()}
    if "accounts" in app.blueprints:
        clients["ada"] = user(app, "ada")
    if queue := app.extensions.get("queue"):
        # A job of another application, on the same Redis.
        other = Queue(f"{queue.name}other", connection=queue.connection)
        other.enqueue(print, job_id="foreign", result_ttl=1)
    routes = [rule for rule in app.url_map.iter_rules() if not FILES.match(rule.endpoint)]
    faults = []
    for rule, (who, client), method in product(routes, clients.items(), ("GET", "POST")):
        if method not in (rule.methods or ()):
            continue
        for hostile, asked in requests(rule, method):
            headers = {**JSON, **asked.pop("headers", {})}
            with client.open(**asked, method=method, headers=headers, buffered=False) as answer:
                if answer.mimetype != "text/event-stream" and (why := fault(answer)):
                    faults.append(f"{who}: {method} {rule}: {hostile}: {why}")
    if queue:
        other.delete()

    assert not faults, "\n".join(faults)
