"""Pages with the browser's own EventSource, through kills and restarts."""

from __future__ import annotations

import functools
import signal
from typing import Any

import pytest
from selenium.webdriver.chrome.webdriver import WebDriver

from flask_redis_events import Emitter
from tests.e2e.conftest import starting
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

from .conftest import Browse


def script(page: WebDriver, expression: str) -> Any:
    return page.execute_script(f"return {expression}")


def has(page: WebDriver, expression: str, count: int) -> bool:
    return bool(script(page, expression) >= count)


@pytest.mark.timeout(180)
@pytest.mark.redis(appendonly=True)
def test_pages_lose_nothing(own_redis_server: RedisServer, browse: Browse):
    """Each page gets every message once and in order, and no `reset`."""
    env = {"RETRY": "0.5", "HISTORY_TTL": "600"}
    with starting(own_redis_server, "pages:") as start:
        app = start(workers=2, redis=own_redis_server, env=env)
        pages = [browse() for _ in range(3)]
        for page in pages:
            page.get(f"{app.url}/page/x")
            wait_until(functools.partial(has, page, "ready", 1), 15)
        emitter = Emitter(own_redis_server.url, prefix="pages:", history_ttl=600)
        numbers = iter(range(10_000))
        emitted = 0

        def emit_some() -> None:
            nonlocal emitted
            for _ in range(20):
                emitter.emit("x", next(numbers))
                emitted += 1

        for fault in ("kill", "hup", "restart", "kill all", "cut", "restart"):
            emit_some()
            readies = [script(page, "ready") for page in pages]
            if fault == "kill":
                app.server.kill_worker(app.server.worker_pids()[0], signal.SIGKILL)
            elif fault == "kill all":
                for pid in app.server.worker_pids():
                    app.server.kill_worker(pid, signal.SIGKILL)
            elif fault == "hup":
                app.server.reload()
            elif fault == "restart":
                own_redis_server.restart()
            else:
                own_redis_server.kill_pubsub()
            emit_some()
            for page, before in zip(pages, readies, strict=True):
                wait_until(functools.partial(has, page, "got.length", emitted), 30)
                if fault in ("hup", "kill all"):  # which end every stream
                    wait_until(functools.partial(has, page, "ready", before + 1), 30)
        for page in pages:
            assert script(page, "got") == list(range(emitted))
            assert script(page, "resets") == 0
        emitter.close()
