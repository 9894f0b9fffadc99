"""Examples under gunicorn and Redis, and Chromium to use them with."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.examples.staging import environment, serve, worker
from tests.support.browsers import browse as browse
from tests.support.processes import Process
from tests.support.servers import Gunicorn, RedisServer

Run = Callable[..., Gunicorn]
Work = Callable[[str], Process]


@pytest.fixture
def run(redis_server: RedisServer, prefix: str, tmp_path: Path) -> Iterator[Run]:
    """Return a function that starts an example with two workers and an empty database.

    Its keyword arguments are variables of the environment.
    """
    with ExitStack() as running:

        def run(name: str, **more: str) -> Gunicorn:
            env = environment(name, redis_server.url, prefix, tmp_path)
            return running.enter_context(serve(name, {**env, **more}))

        yield run


@pytest.fixture
def work(redis_server: RedisServer, prefix: str, tmp_path: Path) -> Iterator[Work]:
    """Return a function that starts the process beside an example's web workers."""
    with ExitStack() as running:

        def work(name: str) -> Process:
            env = environment(name, redis_server.url, prefix, tmp_path)
            process = worker(name, env, tmp_path)
            process.start()
            running.callback(process.end, signal.SIGKILL)
            return process

        yield work
