"""Examples under gunicorn and Redis, and Chromium to use them with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.examples.staging import environment, serve
from tests.support.browsers import browse as browse
from tests.support.servers import Gunicorn, RedisServer

Run = Callable[..., Gunicorn]


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
