"""Child processes that always end with the launcher, and the signals that make it end.

A signal handler only notes its signal; `pause` raises KeyboardInterrupt later.  If the handler
raised, the exception could arrive between a child's start and the `with` block that ends it, or a
second Ctrl-C could interrupt the ending of the children.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

#: Seconds between SIGTERM and SIGKILL.
PATIENCE = 6.0
#: SIGHUP comes when the terminal is closed.  The launcher alone receives it, because the children
#: run in sessions of their own.
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: Whether a child still runs.
Alive = Callable[[], bool]

_noted: list[int] = []


class CannotStart(Exception):
    """The demo cannot start; the text says why, and what to do."""


def note_signals() -> None:
    """Note signals that ask the launcher to end, from now on."""
    _noted.clear()
    for number in ENDINGS:
        # A signal that is ignored already was ignored by intention, for example by nohup.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: _noted.append(number))


def pause(seconds: float) -> None:
    """Sleep; raise KeyboardInterrupt if a signal has asked the launcher to end."""
    time.sleep(seconds)
    if _noted:
        raise KeyboardInterrupt


@contextmanager
def child(
    command: Sequence[str], environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child process, and end it after the block.

    The child has a session of its own, so that Ctrl-C reaches the launcher alone.
    """
    process = subprocess.Popen(command, env=environ, start_new_session=True)
    try:
        yield process
    finally:
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
