"""A server under test: how it is started, streamed from, published to, and asked."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.processes import Process
from tests.support.servers import Gunicorn, RedisServer, WebServer

from . import machine

#: A server of a few thousand streams, and of those who come when they have gone.
GUNICORN = ["--worker-connections", "30000", "--backlog", "4096", "--keep-alive", "30"]
#: A channel, and what is published on it.
Event = tuple[str, Any]
#: How many are published together, where several are.
BURST = 16
#: Bytes that make a message about a hundred bytes long on the wire.
PADDING = "x" * 32
#: Where the applications are, which are named from there: "ours:create_app()".
APPS = Path(__file__).parent / "apps"


def message(number: int) -> dict[str, Any]:
    """Return what is published; its time says when."""
    return {"t": round(time.monotonic(), 6), "n": number, "text": PADDING}


class Contestant:
    """One server, one worker, on the core that is the server's; a context manager.

    `ready` says when all clients that have asked are served; by default they know it themselves.
    """

    name = ""
    #: Where its streams are.
    path = "stream"
    #: Whether it sends a head before its first message.
    answers_first = True
    #: Whether it says that it is alive when there is nothing to say.
    beats = True
    #: Whether it resumes at a Last-Event-ID.
    resumes = False

    def __init__(self, redis: RedisServer, **env: str) -> None:
        self.redis = redis.client()
        self.redis_url = redis.url
        self.env = {"BENCH_REDIS_URL": redis.url, "BENCH_PREFIX": self.prefix, **env}
        self.server = self._server()

    @property
    def prefix(self) -> str:
        """What its channels on Redis begin with: one contestant's messages are no other's."""
        return f"{self.name.replace(' ', '-')}:"

    def _server(self) -> WebServer:
        raise NotImplementedError

    def url(self, channel: str) -> str:
        return f"{self.server.url}/{self.path}/{channel}"

    def publish(self, events: Sequence[Event]) -> None:
        """Send what is to go to which channel, in one round trip."""
        raise NotImplementedError

    def ready(self, channels: Sequence[str], count: int) -> bool:
        return True

    @property
    def worker(self) -> int:
        """The process that serves the streams."""
        return self.server.pid

    def cpu(self) -> float:
        return machine.cpu_seconds(self.worker)

    def memory(self) -> int:
        return machine.memory(self.worker)

    def ask(self) -> float:
        """Return the seconds that a request takes which is no stream, on its own connection."""
        started = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{self.name} answered {answer.status}.")
        return time.monotonic() - started

    def __enter__(self) -> Contestant:
        self.server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.close()


class PinnedGunicorn(Gunicorn):
    """A gunicorn on the server's core, in an environment that need not be ours."""

    _process_type = Process

    def __init__(self, app: str, *, python: str | None = None, env: Mapping[str, str]) -> None:
        self._python = python
        super().__init__(app, workers=1, args=GUNICORN, env=env)

    def _command(self) -> list[str]:
        command = super()._command()
        return machine.pinned([self._python or command[0], *command[1:]])


class GunicornContestant(Contestant):
    server: PinnedGunicorn

    @property
    def worker(self) -> int:
        return self.server.worker_pids()[0]
