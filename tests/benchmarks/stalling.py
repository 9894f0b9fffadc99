"""Clients that come back for much, and read nothing: what they cost while they stay, and after."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from flask_redis_events.bench.figures import Spread

from .ours import Generator, HandOff, Ours
from .run import Run
from .streaming import PATIENCE, warm_up

CLIENTS = 100
#: Messages of the channel's history, and bytes of each: less than what one resume may bring.
MISSED, LENGTH = 1000, 7500
#: Bytes of one large message.
LARGE = 20 * 1024 * 1024
#: Seconds until memory that is free has been given back.
REST = 10


def stalling(run: Run) -> None:
    """Each client resumes at a position of its own; then others are sent one large message."""
    for _ in range(run.rounds):
        for kind in run.chosen(HandOff, Generator):
            run.tell(f"{kind.name}: {CLIENTS} come back, and do not read")
            with ExitStack() as stack:
                _resume(_started(run, kind, stack), run)
            run.tell(f"{kind.name}: {CLIENTS} do not read a large message")
            with ExitStack() as stack:
                _send_large(_started(run, kind, stack), run)


def _started(run: Run, kind: Any, stack: ExitStack) -> Ours:
    contestant = run.start(kind, stack)
    assert isinstance(contestant, Ours)
    warm_up(contestant)
    return contestant


def _resume(contestant: Ours, run: Run) -> None:
    ids = [contestant.emitter.emit("late", "x" * LENGTH) for _ in range(MISSED)][:CLIENTS]
    before, cpu = contestant.memory(), contestant.cpu()
    with _clients(contestant, "late", [str(id) for id in reversed(ids)]):
        asked = _ask_until(contestant, lambda: _replayed(contestant) == CLIENTS)
        cpu, held = contestant.cpu() - cpu, contestant.memory() - before
    time.sleep(REST)
    spread = Spread.of(asked)
    assert spread is not None
    for what, value in {
        "latency of a request p99 while they come back": spread.p99,
        "memory while they do not read 7.5 MB each": held,
        "memory left when they have gone": contestant.memory() - before,
        "CPU per client that comes back": cpu / CLIENTS,
    }.items():
        run.results.add(contestant.name, what, CLIENTS, value)


def _send_large(contestant: Ours, run: Run) -> None:
    with _clients(contestant, "large", [None] * CLIENTS) as clients:
        _ask_until(contestant, lambda: len(select.select(clients, [], [], 0)[0]) == CLIENTS)
        before = contestant.memory()
        # As another program publishes it, for which there is no limit.
        contestant.redis.publish(f"{contestant.prefix}large", "x" * LARGE)
        _ask_until(contestant, lambda: contestant.metrics().get("offered", 0) >= CLIENTS)
        held = contestant.memory() - before
    run.results.add(contestant.name, "memory of a message of 20 MiB that waits", CLIENTS, held)


def _replayed(contestant: Ours) -> int:
    metrics = contestant.metrics().items()
    return sum(count for name, count in metrics if name.startswith("replayed."))


def _ask_until(contestant: Ours, happened: Callable[[], bool]) -> list[float]:
    """Send other requests, until it has happened and a little longer; return what they took."""
    asked: list[float] = []
    until = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > until:
            raise RuntimeError(f"{contestant.name}: {contestant.metrics()}.")
        asked.append(contestant.ask())
    for _ in range(50):
        asked.append(contestant.ask())
        time.sleep(0.02)
    return asked


@contextmanager
def _clients(contestant: Ours, channel: str, ids: list[Any]) -> Iterator[list[socket.socket]]:
    """Open streams over connections that take little, and read nothing of them."""
    with ExitStack() as opened:
        clients = []
        for id in ids:
            client = opened.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", contestant.server.port))
            resume = f"Last-Event-ID: {id}\r\n" if id else ""
            path = f"/{contestant.path}/{channel}"
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{resume}\r\n".encode())
            clients.append(client)
        yield clients
