"""The application `tests/support/apps/streams.py` under each supported server."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.support.servers import AsgiServer, FlaskRun, Gunicorn, RedisServer, WebServer
from tests.support.sse_client import SSEClient

_NOTHING = object()
APP = "tests.support.apps.streams:create_app()"
#: The application for servers that are not WSGI's: carried by a2wsgi, and by the server itself.
ASGI = {
    "uvicorn": "tests.support.apps.over_asgi:carried",
    "hypercorn": "wsgi:tests.support.apps.over_asgi:app",
}


class App:
    """A running application, with short ways to send requests to it."""

    def __init__(self, server: Any, redis: RedisServer, prefix: str) -> None:
        self.server = server
        self.redis = redis.client()
        self.prefix = prefix
        self.url = server.url

    def stream(self, path: str, **options: Any) -> SSEClient:
        return SSEClient(self.url + path, **options)

    def ready(self, path: str, **options: Any) -> SSEClient:
        """Open a stream and read its first event."""
        client = self.stream(path, **options)
        try:
            assert client.next().event == "ready"
        except BaseException:
            client.close()
            raise
        return client

    def request(self, method: str, path: str, body: Any = _NOTHING, **headers: str) -> Any:
        """Return (status, headers, body), the body decoded if it is JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            headers.setdefault("Content-Type", "application/json")
            connection.request(
                method, path, None if body is _NOTHING else json.dumps(body), headers
            )
            response = connection.getresponse()
            text = response.read()
            is_json = (response.getheader("Content-Type") or "").startswith("application/json")
            return response.status, response.headers, json.loads(text) if is_json else text
        finally:
            connection.close()

    def emit(self, channel: str, data: Any, *, event: str = "") -> Any:
        """Emit from inside the application; return the id."""
        query = f"?event={event}" if event else ""
        return self.request("POST", f"/emit/{channel}{query}", data)[2]["id"]

    def publish(self, channel: str, payload: bytes) -> int:
        """Publish a payload without an envelope, as another program does."""
        return int(self.redis.publish(self.prefix + channel, payload))

    def state(self) -> Any:
        return self.request("GET", "/state")[2]

    def handed_off(self) -> int:
        """How many streams the hub has been given to write."""
        return int(self.state()["metrics"].get("handed_off", 0))

    def subscribers(self, channel: str) -> int:
        """Return how many connections are subscribed to a channel."""
        return int(self.redis.pubsub_numsub(self.prefix + channel)[0][1])


Start = Callable[..., App]


@contextmanager
def starting(redis_server: RedisServer, prefix: str) -> Iterator[Start]:
    """Yield a function that starts the application under a server; end all servers afterwards."""
    with ExitStack() as running:

        def start(
            kind: str = "gevent",
            *,
            redis: RedisServer = redis_server,
            env: Mapping[str, str] | None = None,
            **options: Any,
        ) -> App:
            # Shorter than the defaults, for which the tests would have to wait.
            short = {"HEARTBEAT": "1", "RETRY": "0.5"}
            settings = {"URL": redis.url, "PREFIX": json.dumps(prefix), **short}
            environ = {
                f"TEST_REDIS_EVENTS_{name}": value
                for name, value in (settings | dict(env or {})).items()
            }
            return App(running.enter_context(_server(kind, environ, options)), redis, prefix)

        yield start


def _server(kind: str, environ: Mapping[str, str], options: Any) -> WebServer:
    app = options.pop("app", APP)
    if kind == "generator":
        kind, environ = "gevent", {**environ, "TEST_REDIS_EVENTS_HANDOFF": "off"}
    if kind == "flask":
        return FlaskRun(app, env=environ, **options)
    if kind in ASGI:
        return AsgiServer(kind, ASGI[kind], env=environ)
    worker_class, args = kind, [*options.pop("args", ())]
    if kind == "preload":
        worker_class, args = "gevent", [*args, "--preload"]
    if kind == "gthread":
        args += ["--threads", "30"]
    options = {"workers": 1, **options}
    return Gunicorn(app, worker_class=worker_class, args=args, env=environ, **options)


@pytest.fixture
def start(redis_server: RedisServer, prefix: str) -> Iterator[Start]:
    with starting(redis_server, prefix) as start:
        yield start
