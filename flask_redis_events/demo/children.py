"""Child processes that surely end with us, and the signals that ask for it.

A signal is noted by its handler, and acted on where we pause.  An exception out of the handler
could come between a child's start and our knowing of it, or, at a second Ctrl-C, amid the ending.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

#: Seconds that a child has to end by itself.
PATIENCE = 6.0
#: SIGHUP is a terminal that is closed: children in sessions of their own do not hear of that.
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

#: Whether a child still runs.
Alive = Callable[[], bool]

_noted: list[int] = []


class CannotStart(Exception):
    """The text says what to do."""


def note_signals() -> None:
    """Note from now on what asks us to end."""
    _noted.clear()
    for number in ENDINGS:
        # Whoever started us so that it is ignored (nohup does) meant it.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, frame: _noted.append(number))


def pause(seconds: float) -> None:
    """Sleep; raise KeyboardInterrupt if we were asked to end."""
    time.sleep(seconds)
    if _noted:
        raise KeyboardInterrupt


@contextmanager
def child(
    command: Sequence[str], environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child in a session of its own, so that Ctrl-C reaches us alone, and end it."""
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
    """Return whether the child listens, before it ends or the time is over."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((host, port), 0.5).close()
            return True
        except OSError:
            pause(0.05)
    return False


def bindable(host: str, port: int) -> int:
    """Return the port (0: any that is free), or raise OSError if it cannot be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as probe:
        return int(probe.getsockname()[1])
