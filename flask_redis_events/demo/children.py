"""Child processes that always end with the launcher, and the signals that the launcher notes.

A signal handler only notes its signal; `pause` raises KeyboardInterrupt later.  If the handler
raised, the exception could arrive between a child's start and the `with` block that ends it, or a
second Ctrl-C could interrupt the ending of the children.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

#: Seconds between SIGTERM and SIGKILL.
PATIENCE = 6.0
#: SIGHUP comes when the terminal is closed.  The launcher alone receives it, and Ctrl-C, because
#: the children are in a process group of their own.
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: By these the application asks for a fault of the launcher's own Redis.
FREEZE, RESTART = signal.SIGUSR1, signal.SIGUSR2
#: How long `pause` may take to notice a signal, in seconds.
NOTICE = 0.1

#: Whether a child still runs.
Alive = Callable[[], bool]

_noted: set[int] = set()


class CannotStart(Exception):
    """The demo cannot start; the text says why, and what to do."""


def note_signals() -> None:
    """Note signals that ask the launcher for something, from now on."""
    _noted.clear()
    for number in (*ENDINGS, FREEZE, RESTART):
        # A signal that is ignored already was ignored by intention, for example by nohup.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: _noted.add(number))


def asked(number: int) -> bool:
    """Say whether a signal has come since the last call."""
    was_noted = number in _noted
    _noted.discard(number)
    return was_noted


def pause(seconds: float) -> None:
    """Sleep; raise KeyboardInterrupt if a signal has asked the launcher to end."""
    deadline = time.monotonic() + seconds
    while True:
        if not _noted.isdisjoint(ENDINGS):
            raise KeyboardInterrupt
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, NOTICE))


class Children:
    """Starts child processes in the group of the guard, which ends them if this process cannot."""

    def __init__(self, guard: subprocess.Popen[str]) -> None:
        self._guard = guard

    def start(
        self, command: Sequence[str], environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a child; the caller ends it."""
        return subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, process_group=self._guard.pid
        )

    @contextmanager
    def running(
        self, command: Sequence[str], environ: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a child, and end it after the block."""
        process = self.start(command, environ)
        try:
            yield process
        finally:
            end(process)

    @contextmanager
    def directory(self) -> Iterator[Path]:
        """Make a directory, and remove it after the block."""
        with tempfile.TemporaryDirectory(prefix="redis-events-demo-") as name:
            if self._guard.stdin:
                self._guard.stdin.write(f"{name}\n")
                self._guard.stdin.flush()
            yield Path(name)

    def guarded(self) -> bool:
        """Say whether the guard still runs."""
        return self._guard.poll() is None


@contextmanager
def guarded_children() -> Iterator[Children]:
    """Run the guard, and end it after the block, when the children have ended."""
    command = [sys.executable, "-I", str(Path(__file__).with_name("guard.py"))]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, process_group=0)
    try:
        yield Children(guard)
    finally:
        if guard.poll() is None:
            # With it the workers of a gunicorn that was killed, which are nobody's children.
            os.killpg(guard.pid, signal.SIGKILL)
        guard.communicate()


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process: with SIGTERM, and with SIGKILL if it takes too long."""
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until_it_listens(
    process: subprocess.Popen[bytes], host: str, port: int, *, seconds: float
) -> bool:
    """Wait until the child listens; return False if it ends or `seconds` pass before."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((host, port), 0.5).close()
            return True
        except OSError:
            pause(0.05)
    return False


def bindable(host: str, port: int) -> int:
    """Return the port, or a free one for 0; raise OSError if it cannot be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as probe:
        return int(probe.getsockname()[1])
