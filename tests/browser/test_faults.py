"""Pages in each engine, with the browser's own EventSource and with the module, through faults."""

from __future__ import annotations

import functools
import json
import re
import signal
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from flask_redis_events import Emitter
from tests.e2e.conftest import App, starting
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

from .conftest import Browser

PREFIX = "pages:"


class Run(NamedTuple):
    """One application, one Redis, and pages that each have three clients."""

    app: App
    redis: RedisServer
    engines: dict[str, Browser]

    def clients(self) -> dict[str, dict[str, Any]]:
        """Return each client's news, under the names of its engine and its own."""
        return {
            f"{engine} {name}": client
            for engine, page in self.engines.items()
            for name, client in json.loads(
                page.execute_script("return JSON.stringify(window.clients ?? {})")
            ).items()
        }

    def wait(self, condition: Callable[[dict[str, Any]], bool], timeout: float = 40) -> None:
        """Wait until a condition is true of each client."""
        waiting: list[str] = []

        def all_true() -> bool:
            clients = self.clients()
            waiting[:] = [f"{name}: {client}" for name, client in clients.items()]
            return len(clients) == 9 and all(condition(client) for client in clients.values())

        wait_until(all_true, timeout, lambda: "\n".join(waiting))


def kill(run: Run) -> None:
    run.app.server.kill_worker(run.app.server.worker_pids()[0], signal.SIGKILL)


def kill_all(run: Run) -> None:
    for pid in run.app.server.worker_pids():
        run.app.server.kill_worker(pid, signal.SIGKILL)


def reload(run: Run) -> None:
    run.app.server.reload()


def restart_redis(run: Run) -> None:
    run.redis.restart()


def cut(run: Run) -> None:
    run.redis.kill_pubsub()


def stay_away(run: Run) -> None:
    """Stop gunicorn, so that connections are refused for four seconds."""
    run.app.server.terminate()
    begin = time.monotonic()
    wait_until(lambda: time.monotonic() > begin + 4)
    run.app.server.start()


#: Each fault, and whether it ends every stream.
FAULTS: list[tuple[Callable[[Run], None], bool]] = [
    (kill, False),
    (reload, True),
    (restart_redis, False),
    (stay_away, True),
    (kill_all, True),
    (cut, False),
]


@pytest.mark.timeout(300)
@pytest.mark.redis(appendonly=True)
def test_pages_lose_nothing(own_redis_server: RedisServer, engines: dict[str, Browser]):
    """Each client gets each message once and in order, a `reset` where Redis is empty, the end."""
    env = {"HISTORY_TTL": "600"}
    emitter = Emitter(own_redis_server.url, prefix=PREFIX, history_ttl=600)
    with starting(own_redis_server, PREFIX) as start:
        app = start(workers=2, env=env, app="tests.support.apps.module:create_app()")
        run = Run(app, own_redis_server, engines)
        for page in engines.values():
            page.get(f"{app.url}/clients/x")
        run.wait(lambda client: client["readies"] == 1)
        emitted = 0

        def emit_some() -> None:
            nonlocal emitted
            for _ in range(20):
                emitted += 1
                emitter.emit("x", emitted)

        for fault, ends in FAULTS:
            emit_some()
            readies = min(client["readies"] for client in run.clients().values())
            fault(run)
            emit_some()
            run.wait(functools.partial(has, count=emitted, readies=readies + ends))
        run.redis.client().flushall()
        run.redis.restart()
        run.wait(lambda client: len(client["resets"]) >= 1)
        emit_some()
        emitter.emit("x", False)
        run.wait(lambda client: client["state"] == "ended")
        requests = wait_until(lambda: len(log := app.server.access_log) and log)
        over = time.monotonic()
        wait_until(lambda: time.monotonic() > over + 3)

        for name, client in run.clients().items():
            assert client["got"] == list(range(1, emitted + 1)), name
            assert client["resets"] == ["flushed"], name
            if "native" not in name:
                assert client["loads"] == ["open", "flushed"], name
        # An EventSource is told to stop, once; the module has understood `end`.
        assert re.findall(r"client=(\w+) HTTP/1.1\" 204", app.server.access_log) == ["native"] * 3
        assert app.server.access_log == requests
    emitter.close()


def has(client: dict[str, Any], *, count: int, readies: int) -> bool:
    return len(client["got"]) >= count and client["readies"] >= readies
